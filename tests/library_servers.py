"""A web server that answers as the Hugging Face hub does: what a repository has, and its files at a commit."""

import hashlib
import json

from tests.webserver import File, WebServer, answer


class Hub:
    """Repositories at the addresses that the hub's library asks."""

    def __init__(self, web: WebServer):
        self.web = web

    def add(self, repository: str, files: dict[str, bytes], *, revision: str = "main", commit: str = "a" * 40, **more):
        """A revision of a repository; earlier ones stay. `more` stands in the hub's description of it."""
        described = {
            "id": repository,
            "sha": commit,
            "siblings": [self._sibling(name, data) for name, data in files.items()],
            "cardData": {"license": "apache-2.0"},
            "private": False,
            "gated": False,
        } | more
        for name in {revision, commit, *(["main"] if revision == "main" else [])}:
            reply = answer(200, json.dumps(described).encode(), Content_Type="application/json")
            self.web.table[f"/api/models/{repository}/revision/{name}"] = reply
            if name == "main":
                self.web.table[f"/api/models/{repository}"] = reply
        for name, data in files.items():
            self.web.table[f"/{repository}/resolve/{commit}/{name}"] = self.file(data, commit)

    def file(self, data: bytes, commit: str = "a" * 40, breaks=()):
        """The answer for a file; with `breaks` the connection ends after so many bytes."""
        sent = File(data, etag=f'"{hashlib.sha256(data).hexdigest()}"', breaks=list(breaks))

        def reply(handler):
            end_headers = handler.end_headers

            def end():
                handler.send_header("X-Repo-Commit", commit)
                end_headers()

            handler.end_headers = end
            try:
                handler._send_file(sent)
            finally:
                handler.end_headers = end_headers

        return reply

    def refuse(self, repository: str, status: int, code: str = ""):
        """Every question about a repository is answered with an error."""
        self.web.table[f"/api/models/{repository}"] = answer(status, b"{}", **({"X_Error_Code": code} if code else {}))

    @staticmethod
    def _sibling(name: str, data: bytes):
        entry = {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
        if name.endswith((".safetensors", ".bin")):
            digest = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 130}
        return entry
