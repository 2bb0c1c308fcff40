"""Replace all workers by workers with another configuration, without a pause in service."""

from __future__ import annotations

from attrs import frozen

from authotron.config.check import Config
from authotron.daemon.workers.messages import PeerError
from authotron.daemon.workers.pool import WorkerPool
from authotron.daemon.workers.process import WorkerProcess
from authotron.daemon.workers.spawning import SealedConfig


@frozen(eq=False)
class Replacement:
    """
    Replaces all workers of a pool.

    The new workers start one after the other, so that the serving workers keep enough processors.
    As soon as all new workers accept connections, the old workers drain. If anything fails, the new
    workers drain, and the old workers go on with their configuration.
    """

    _pool: WorkerPool

    async def replace(self, config: Config) -> None:
        """
        Replace all workers by workers with a new configuration.

        @raise PeerError: a new worker did not start to serve, or ended before all others served.
        @raise OSError: the system cannot start another process.
        """
        pool = self._pool
        old_config, old = pool.config, [*pool.workers]
        pool.config = SealedConfig.of(config)
        pool.begin_replacement()
        try:
            await self._start_all()
        except Exception:
            pool.config.close()
            pool.config = old_config
            await pool.drain([worker for worker in pool.workers if worker not in old])
            raise
        else:
            old_config.close()
            await pool.drain(old)
        finally:
            pool.end_replacement()

    async def _start_all(self) -> None:
        """
        Start as many workers as the new configuration wants, one after the other.

        @raise PeerError: a worker has ended, or the service is stopping.
        """
        started: list[WorkerProcess] = []
        for _ in range(self._pool.size):
            if self._pool.is_stopping:
                raise PeerError
            started.append(self._pool.spawn())
            await started[-1].until_serving()
        if not all(worker in self._pool.workers for worker in started):
            raise PeerError
