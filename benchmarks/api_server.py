"""One server of `benchmarks/api.py`, in a process that loads what it serves and nothing else.

python -m benchmarks.api_server service 3    # or echo; listening on the socket that is file 3
"""

import os
import socket
import sys

import uvicorn
from fastapi import FastAPI

from dmp_assets.home import Home
from dmp_assets.platform.api import serve


def echo() -> FastAPI:
    """The bare app that all is compared with."""
    app = FastAPI()

    @app.get("/echo")
    async def answer(text: str) -> dict[str, str]:
        return {"text": text}

    return app


def main() -> None:
    """Serve on the first core; the service as `dmp api` does."""
    os.sched_setaffinity(0, {0})
    name, file = sys.argv[1:]
    listening = socket.socket(fileno=int(file))
    if name == "service":
        serve.serve(Home.current(), listening)
    else:
        uvicorn.Server(uvicorn.Config(echo, factory=True, **serve.HARDENED)).run([listening])


if __name__ == "__main__":
    main()
