"""Measures the work of this process for a request, without a network.

Requests come one after the other on a connection that is kept. Reading from a socket and writing to it
is not measured.
"""

import gc
import os
import re
import subprocess
import sys
import tempfile
import time

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from zope.interface import implementer

#: Short rounds, of which some are not disturbed by what else the machine does.
ROUNDS, REQUESTS = 30, 500


@implementer(ISSLTransport)
class Transport(StringTransport):
    """A connection with TLS. Of its output, the answer to the last request is kept."""

    def __init__(self):
        super().__init__()
        self.answer = b""

    def write(self, data):
        self.answer += data

    def writeSequence(self, data):
        self.answer += b"".join(data)

    def getPeerCertificate(self):
        return None

    def setTcpNoDelay(self, enabled):
        pass


class Connection:
    """A connection to a site.

    :param factory: the site, or the factory of its connections.
    """

    def __init__(self, factory):
        from twisted.internet import reactor
        from twisted.internet.address import IPv4Address

        self._reactor = reactor
        self._transport = Transport()
        factory.doStart()
        self._protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self._protocol.makeConnection(self._transport)

    def send(self, request):
        """The answer to a request. What is left for the next turn of the reactor is done, too."""
        self._transport.answer = b""
        self._protocol.dataReceived(request)
        self._reactor.runUntilCurrent()
        return self._transport.answer


def least(sends, rounds=ROUNDS, requests=REQUESTS):
    """The microseconds of CPU time for a request: the least of some rounds, for each of the functions.

    :param sends: functions that take a number of requests, prepare them, and return a function without
        arguments that sends them.
    """
    found = [float("inf")] * len(sends)
    gc.collect()
    # As the stand-alone server does once it has started.
    gc.freeze()
    for prepare in sends:
        prepare(2 * requests)()
    for _ in range(rounds):
        for place, prepare in enumerate(sends):
            send = prepare(requests)
            begun = time.process_time()
            send()
            found[place] = min(found[place], (time.process_time() - begun) / requests * 1e6)
    return found


def instructions(script, *arguments):
    """The thousands of instructions of a request, which valgrind counts.

    They do not depend on what else the machine does.

    :param script: a benchmark that sends requests if its first argument is ``send``; their number is its
        last argument.
    """
    few, many = (_counted(script, *arguments, count) for count in (200, 1200))
    return (many - few) / 1000 / 1000


def _counted(script, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        words = map(str, arguments)
        output = f"--callgrind-out-file={folder}/out"
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                output,
                sys.executable,
                script,
                "send",
                *words,
            ],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    return int(re.findall(r"Collected : (\d+)", done.stderr)[0])


def measured(arguments, every, measure):
    """Print a table of settings: their figures without our work, and with it.

    :param arguments: of the command: names of settings, and perhaps ``--instructions``.
    :param every: the names of all settings, which are measured if none is named.
    :param measure: returns the two figures. It takes a setting, and whether to count instructions.
    """
    print("| setting | without | with | the difference | ratio |")
    print("|---" * 5 + "|")
    counting = "--instructions" in arguments
    for setting in [each for each in arguments if each != "--instructions"] or every:
        bare, ours = measure(setting, counting)
        print(f"| {setting} | {bare:.1f} | {ours:.1f} | {ours - bare:+.1f} | {bare / ours:.2f} |")
        sys.stdout.flush()
