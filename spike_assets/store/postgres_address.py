"""Where a Postgres is, and what of that may be shown: everything but the password."""

from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from spike_assets.errors import SettingsError

LIKE = "postgresql://user:password@host:5432/database"


class Address:
    """A Postgres database, as its URL names it.

    Attributes
    ----------
    parts
        What libpq takes; what the URL does not say it takes from PGHOST, PGPASSWORD, ~/.pgpass and so on.
    shown
        The URL without the password.
    """

    def __init__(self, url: str) -> None:
        try:
            self.parts = {str(name): str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
        except psycopg.ProgrammingError:  # its words would quote the password
            raise SettingsError(
                f"SPIKE_DATABASE: the address cannot be read; write it like {LIKE}, and in the password %40 for @,"
                " %2F for /, %3A for :"
            ) from None
        self.shown = _shown(self.parts)

    def without_password(self, text: str) -> str:
        """Give a text with the password blotted out."""
        password = self.parts.get("password")
        return text.replace(password, "…") if password else text


_OWN = ("user", "password", "host", "port", "dbname", "sslpassword")


def _shown(parts: dict[str, str]) -> str:
    host, port = parts.get("host", ""), parts.get("port")
    options = {name: value for name, value in parts.items() if name not in _OWN}
    if host.startswith("/"):  # the folder of a socket
        options = {"host": host} | options
        host = ""
    ports = (port or "").split(",")
    places = [f"[{one}]" if one.count(":") > 1 else one for one in host.split(",")]
    if port and not host:
        options["port"] = port
    elif port:
        ports = ports * len(places) if len(ports) == 1 else ports
        places = [f"{one}:{at}" if at else one for one, at in zip(places, ports, strict=True)]
    user = f"{quote(parts['user'], safe='')}@" if "user" in parts else ""
    where = ",".join(places)
    query = f"?{urlencode(options, safe='/')}" if options else ""
    return f"postgresql://{user}{where}/{quote(parts.get('dbname', ''), safe='')}{query}"
