"""The ggml engine on two RPC servers of this machine.

  test_rpc.py SERVER TEST_ENGINE MOBIEDIT Engine    the engines' tests, layers split between the servers
  test_rpc.py SERVER TEST_ENGINE MOBIEDIT Edit      a real model; exit status 77 where it is not there

Exit status 77 also where ggml has no RPC backend.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from testing import SKIPPED, cpu_seconds, free_port, link_model, scratch_folder, skip_without_model

RUNTIME = 7


class Server:
    program = None

    def __init__(self):
        self.endpoint = "127.0.0.1:%d" % free_port()
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program, self.endpoint], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        host, port = self.endpoint.split(":")
        while self.process.poll() is None:
            try:
                socket.create_connection((host, int(port))).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server ended with status %d" % self.process.returncode)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def work(self):
        return cpu_seconds(self.process)


class Case(unittest.TestCase):
    test_engine = mobiedit = None

    def setUp(self):
        self.folder = scratch_folder(self.addCleanup, "rpc")
        self.servers = []
        for _ in range(2):
            self.servers.append(Server())
            self.addCleanup(lambda server: server.kill(), self.servers[-1])
        self.backend = "rpc:" + ",".join(s.endpoint for s in self.servers)


class Engine(Case):
    def test_engine_on_two_servers(self):
        ran = subprocess.run([self.test_engine, self.backend], stdin=subprocess.DEVNULL, timeout=1500)
        self.assertEqual(ran.returncode, 0)
        for server in self.servers:
            self.assertGreater(server.work(), 0)


class Edit(Case):
    @classmethod
    def setUpClass(cls):
        cls.model = link_model(cls.addClassCleanup)

    def command(self, backend, output):
        # At the subject: over servers each key costs much, and an edit there needs fewer of them.
        return [self.mobiedit, "edit", "--json", "--no-ledger", "--place", "subject", "--backend", backend, self.model,
                "The capital of {Japan} is", "Lima", "-o", output]

    def edit(self, backend, output):
        ran = subprocess.run(self.command(backend, output), stdin=subprocess.DEVNULL, capture_output=True, timeout=1500)
        self.assertEqual((ran.returncode, ran.stderr), (0, b""))
        return json.loads(ran.stdout)

    def test_edit_lost_server_and_again(self):
        local, remote = self.folder / "local.gguf", self.folder / "remote.gguf"
        here, there = self.edit("cpu", local), self.edit(self.backend, remote)
        self.assertEqual((here["layer"], here["evals"], here["after"]), (there["layer"], there["evals"], there["after"]))
        self.assertAlmostEqual(here["loss"], there["loss"], delta=0.01 * here["loss"])

        # The second server ends when it has done a fifth of its work; waiting for others may add to what it did at first.
        whole = self.servers[1].work()
        before = sorted(os.listdir(self.folder))
        child = subprocess.Popen(self.command(self.backend, self.folder / "lost.gguf"), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while child.poll() is None and self.servers[1].work() < 1.2 * whole:
            time.sleep(0.01)
        self.assertIsNone(child.poll(), "the edit ended before the server could be lost")
        self.servers[1].kill()
        out, err = child.communicate(timeout=300)
        self.assertEqual((child.returncode, json.loads(out)["status"]), (RUNTIME, "runtime"), err)
        self.assertEqual(len(err.decode().splitlines()), 1, err)
        self.assertIn(self.backend, err.decode())
        self.assertEqual(sorted(os.listdir(self.folder)), before)

        # As long as it is away, that is said; once it is back, the edit is what it was.
        gone = subprocess.run(self.command(self.backend, self.folder / "gone.gguf"), capture_output=True, timeout=300)
        self.assertEqual(gone.returncode, RUNTIME)
        self.assertIn(self.servers[1].endpoint, gone.stderr.decode().split(": ", 2)[2])
        self.servers[1].start()
        again = self.folder / "again.gguf"
        self.edit(self.backend, again)
        self.assertEqual(again.read_bytes(), remote.read_bytes())


def main():
    Server.program, Case.test_engine, Case.mobiedit, part = sys.argv[1:5]
    if subprocess.run([Server.program, "--probe"]).returncode == SKIPPED:
        print("skipped: this ggml has no RPC backend")
        return SKIPPED
    if part == "Edit":
        skip_without_model()
    return not unittest.main(argv=[sys.argv[0], part], exit=False, verbosity=2).result.wasSuccessful()


if __name__ == "__main__":
    sys.exit(main())
