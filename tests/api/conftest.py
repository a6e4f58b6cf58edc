"""What the tests of jobs share: the service on a folder, and none of its connections left open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from job_service import JobService, MakeService


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Return a maker of services that share one folder, as the processes of one deployment do."""
    services: list[JobService] = []

    def make(*args: object, **settings: object) -> JobService:
        services.append(JobService(tmp_path, *args, **settings))  # type: ignore[arg-type]
        return services[-1]

    yield make
    for service in services:
        service.close()


@pytest.fixture
def service(make_service: MakeService) -> JobService:
    """The service with jobs."""
    return make_service()
