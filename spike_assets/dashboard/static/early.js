// Runs before the first paint, so that a remembered theme does not flash: this and nothing else belongs here.
try {
  const theme = localStorage.getItem("spike-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // No storage, no memory: the system's theme it is.
}
