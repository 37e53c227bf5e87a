"""Settings of the executor, the section `cluster` of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mcbert.settings import HERE, Number, Positive, Whole, require_default, section

Backend = Literal["auto", "serial", "loky", "dask"]
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@section("cluster")
class ClusterSettings:
    """Where the search and the seeds of phase two run."""

    backend: Backend = "auto"
    """Of the search and of phase two. ``serial``: this process; ``loky``: processes of this machine;
    ``dask``: a dask cluster, on this machine unless there is a `scheduler`; ``auto``: dask with a scheduler,
    else loky."""

    workers: Whole = 0
    """Worker processes of the search and of phase two; 0 means one per CPU core that this process may use, or
    all workers of the scheduler."""

    extract_workers: Positive = 1
    """Processes that encode; more than one run on dask, each on a GPU or a share of the CPU cores."""

    scheduler: str = ""
    """Address of a running dask scheduler, such as ``tls://host:8786``, whose workers every stage uses."""

    connect_timeout: Annotated[float, Field(gt=0)] = 10.0
    """Seconds to wait for the scheduler to answer."""

    tls_ca: str = ""
    """File of the certificate authority that signed the scheduler's certificate (PEM)."""

    tls_cert: str = ""
    """This client's certificate (PEM)."""

    tls_key: str = ""
    """This client's private key (PEM)."""

    plain_tcp: bool = False
    """Allow a scheduler on another machine without TLS: anyone who reaches its port can run code on it."""

    lock_wait: Number = 0.0
    """Seconds to wait for another command that is writing the same run or cache."""

    retry_errors: bool = False
    """Run the candidates again that failed in an earlier search of this run, by a dying worker say."""

    @property
    def runs_on(self) -> str:
        """The backend of the search and of phase two: ``serial``, ``loky`` or ``dask``."""
        if self.backend == "auto":
            return "dask" if self.scheduler else "loky"
        return self.backend

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(self._tls) and not all(self._tls):
            raise ValueError(f"{HERE}.tls_ca: tls_ca, tls_cert and tls_key are needed together")
        if self.scheduler:
            self._check_scheduler()
        else:
            self._require_no_scheduler_settings()
        return self

    @property
    def _tls(self) -> tuple[str, ...]:
        return self.tls_ca, self.tls_cert, self.tls_key

    def _require_no_scheduler_settings(self) -> None:
        if any(self._tls):
            raise ValueError(
                f"{HERE}.scheduler: TLS files are given and no scheduler, accepted: tls://host:port"
            )
        if self.plain_tcp:
            raise ValueError(
                f"{HERE}.plain_tcp: got true and no scheduler, accepted with {HERE}.scheduler tcp://host:port"
            )

    def _check_scheduler(self) -> None:
        kind, _, address = self.scheduler.partition("://")
        if kind not in ("tcp", "tls") or not address:
            raise ValueError(
                f"{HERE}.scheduler: got {self.scheduler!r}, accepted: tls://host:port or tcp://host:port"
            )
        self._require_use()
        if kind == "tls":
            self._require_tls()
        elif any(self._tls):
            raise ValueError(
                f"{HERE}.scheduler: got {self.scheduler} and TLS files, accepted: tls://{address}"
            )
        elif address.rpartition(":")[0] not in LOOPBACK and not self.plain_tcp:
            raise ValueError(
                f"{HERE}.scheduler: {self.scheduler} is on another machine without TLS; use tls://, or set "
                f"{HERE}.plain_tcp=true (--insecure) on a network where everyone may run code on it"
            )

    def _require_tls(self) -> None:
        if not all(self._tls):
            raise ValueError(f"{HERE}.tls_ca: a tls:// scheduler needs tls_ca, tls_cert and tls_key")
        if self.plain_tcp:
            raise ValueError(f"{HERE}.plain_tcp: got true with a tls:// scheduler, accepted with tcp:// only")

    def _require_use(self) -> None:
        """Refuse settings that would do nothing."""
        if self.backend in ("serial", "loky"):
            raise ValueError(f"{HERE}.backend: got {self.backend!r} with a scheduler, accepted: auto or dask")
        idle = ("workers", "extract_workers")
        require_default(self, idle, "with a scheduler, all of whose workers are used")
