"""A service in a few lines, for tests of what keeps services running: it writes its number down, and the gateway answers."""

import http.server
import json
import os
import signal
import sys
import time
from pathlib import Path

name, data = sys.argv[1], Path(os.environ["REGROW_DATA_DIR"])
with (data / f"{name}.starts").open("a") as starts:
    starts.write(f"{os.getpid()} {time.time()}\n")
if (data / f"{name}.refused").exists():
    sys.stderr.write("a warning on the way\nREGROW_DATABASE_URL: there is no such database\n")
    sys.exit(78)
if (data / f"{name}.broken").exists():
    sys.stderr.write("the database is from the future\n")
    sys.exit(3)
if (data / f"{name}.waits").exists():
    sys.stderr.write(json.dumps({"event": "waiting for the event log", "problem": "Kafka doesn't answer."}) + "\n")
if name != "gateway":
    if (data / f"{name}.stubborn").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        missing = [{"name": path.stem, "problem": "is away"} for path in (*data.glob("*.broken"), *data.glob("*.refused"))]
        body = json.dumps({"ready": not missing, "missing": missing}).encode()
        self.send_response(503 if missing else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


host, _, port = os.environ["REGROW_GATEWAY_HTTP_ADDRESS"].rpartition(":")
server = http.server.ThreadingHTTPServer((host, int(port)), Ready)
if not (data / "key.made").exists():
    (data / "key.made").touch()
    print("Your admin key. It is shown only this once:", "rg_abcdefgh_" + "x" * 43, sep="\n", flush=True)
print("an ordinary line", flush=True)
server.serve_forever()
