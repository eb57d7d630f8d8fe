output "functions" {
  description = "Where each function answers."
  value       = { for name, function in google_cloudfunctions2_function.spike : name => function.service_config[0].uri }
}

output "secrets_to_fill" {
  description = "Secrets that need a version before the functions can be made: gcloud secrets versions add NAME --data-file=-"
  value       = [for secret in google_secret_manager_secret.spike : secret.secret_id]
}
