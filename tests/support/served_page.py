"""A `mobiedit serve` for tests."""
import http.client
import json
import pathlib
import subprocess
import time


class Served:
    """Runs until close() or kill()."""

    def __init__(self, mobiedit, model, *options):
        self.process = subprocess.Popen([mobiedit, "serve", model, *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        if not self.url.startswith("http://"):
            raise AssertionError("the server does not start: " + self.process.communicate()[1])
        self.host, self.token = self.url[len("http://"):].rstrip("/").split("/")

    def close(self):
        """Its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=120)
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=120)

    def fetch(self, path, body=None, *, method=None, token=None, headers=None):
        """Status, headers and bytes of the answer. A body that is no bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        sent.update(headers or {})
        connection = http.client.HTTPConnection(self.host, timeout=600)
        try:
            connection.request(method or ("GET" if data is None else "POST"),
                               f"/{self.token if token is None else token}/{path}", data,
                               {name: value for name, value in sent.items() if value is not None})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, path, body=None, expect=None, **more):
        status, _, answer = self.fetch(path, body, **more)
        if status != (expect or (200 if body is None else 202)):
            raise AssertionError(f"{path}: {status}: {answer[:500]}")
        return json.loads(answer)

    def ask(self, *contents, **more):
        """The answer to what the user and the model said in turn."""
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
        status, headers, answer = self.fetch("api/chat", {"messages": messages, "max_tokens": 24, **more})
        lines = [json.loads(line) for line in answer.splitlines()]
        if status != 200 or headers["Content-Type"] != "application/x-ndjson" or not lines[-1].get("done"):
            raise AssertionError(f"{status}: {answer[:500]}")
        return "".join(line["text"] for line in lines[:-1])

    def await_job(self, job=None):
        """The job once it has ended."""
        while True:
            job = self.json("api/job")
            if job["state"] != "running":
                return job
            time.sleep(0.1)

    def do(self, path, body):
        """Begins a job, and waits for its end: it must be done."""
        self.json(path, body)
        job = self.await_job()
        if job["state"] != "done":
            raise AssertionError(f"{path}: {job['error']}")
        return job


def page_folder():
    return pathlib.Path(__file__).resolve().parents[2] / "cli" / "serve" / "page"
