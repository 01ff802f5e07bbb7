"""Real proxies in front of a test's server, each from a configuration of the test's own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import wait_until

_COMMANDS = {
    "nginx": ("nginx", "-p", "{folder}", "-e", "{folder}/error.log", "-c", "{file}"),
    "caddy": ("caddy", "run", "--adapter", "caddyfile", "--config", "{file}"),
    "haproxy": ("haproxy", "-db", "-f", "{file}"),
    "apache": ("apache2", "-DFOREGROUND", "-f", "{file}"),
}
# What a configuration needs to run as a test's child, beside what it says about proxying.
_AROUND = {
    "nginx": """
daemon off; pid {folder}/pid; events {{}}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxied; fastcgi_temp_path fcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{text}
}}
""",
    "caddy": "{{\n  admin off\n  auto_https disable_redirects\n  skip_install_trust\n}}\n{text}\n",
    "haproxy": """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
{text}
""",
    "apache": """
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog {folder}/error.log
ServerName localhost
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
{text}
""",
}


@contextmanager
def proxy(kind: str, text: str, folder: Path, port: int) -> Iterator[None]:
    """A proxy of this kind that does what ``text`` says, once it answers at ``port``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "configuration"
    file.write_text(_AROUND[kind].format(text=text, folder=folder))
    command = [part.format(folder=folder, file=file) for part in _COMMANDS[kind]]
    with (folder / "output.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
    try:
        wait_until(lambda: _answers(process, port, folder), what=kind)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _answers(process: subprocess.Popen[bytes], port: int, folder: Path) -> bool:
    assert process.poll() is None, (folder / "output.log").read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
