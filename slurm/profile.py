"""What a cluster wants to hear: a TOML file of the user's, read before anything is submitted. Examples lie in `profiles/`."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

EXAMPLES = Path(__file__).parent / "profiles"


class Resources(BaseModel):
    """What one job of a cost class asks for. A value that is None is left to the cluster, or to the profile's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: int = Field(240, ge=1, description="time limit")
    cpus: int = Field(4, ge=1, description="processors a task; that many threads compute")
    memory_gb: float | None = Field(None, gt=0, description="memory of the job")
    gpus: int = Field(0, ge=0, description="GPUs of the node")
    processes: int = Field(1, ge=1, description="tasks of the job, that share a training")
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = Field(None, description="e.g. gpu:a100:1, where --gpus-per-node is not enough; `gpus` then only counts")


class Classes(BaseModel):
    """The cost classes: what needs no GPU, what needs one, and training that several share. What is stated of one leaves its others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: Resources = Resources()
    gpu: Resources = Resources(gpus=1)
    gpus: Resources = Resources(gpus=4, processes=4)

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, stated: Any) -> Any:
        if not isinstance(stated, dict):
            return stated
        usual = {name: field.default.model_dump(exclude_unset=True) for name, field in cls.model_fields.items()}
        return {name: {**usual.get(name, {}), **asked} if isinstance(asked, dict) else asked for name, asked in stated.items()}


class Profile(BaseModel):
    """A cluster's profile. Options that are None are not given to sbatch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = Field(None, description="nodes not to use")
    reservation: str | None = None
    mail_user: str | None = None
    mail_type: str | None = None
    parallel: int = Field(16, ge=1, description="tasks of an array that run at once")
    notice_seconds: int = Field(120, ge=5, description="notice before the time limit, in which a training writes its checkpoint")
    restarts: int = Field(20, ge=0, description="how often a job that ran out of time goes back into the queue; one that begins anew: once")
    setup: tuple[str, ...] = Field((), description="shell lines before the work: modules, variables")
    python: str | None = Field(None, description="command in place of this environment's python, e.g. inside a container")
    srun: tuple[str, ...] = Field((), description="further arguments of srun")
    sbatch: dict[str, str | int | bool] = Field({}, description="further options of sbatch by their long names; false: left out")
    classes: Classes = Classes()

    @model_validator(mode="after")
    def _notice_in_time(self) -> Profile:
        for name, resources in self.classes:
            if self.notice_seconds >= 60 * resources.minutes:
                raise ValueError(
                    f"notice_seconds = {self.notice_seconds} is not less than classes.{name}.minutes = {resources.minutes}: "
                    "a job would be told of its end before it begins"
                )
        return self


def read_profile(path: Path | None) -> Profile:
    """Returns the profile in a file, or the default one.

    Args:
        path: a file, or the name of an example, e.g. `one-node`.

    Raises:
        ValueError: if it cannot be read, or a key of it is unknown or impossible: names the key.
    """
    if path is None:
        return Profile()
    examples = sorted(example.stem for example in EXAMPLES.glob("*.toml"))
    found = EXAMPLES / f"{path}.toml" if str(path) in examples and not path.exists() else path
    try:
        stated = tomllib.loads(found.read_text())
    except OSError as error:
        raise ValueError(f"profile {path} cannot be read ({error.strerror}): name a file, or one of {', '.join(examples)}") from error
    except ValueError as error:
        raise ValueError(f"profile {path} is not TOML: {error}") from error
    try:
        return Profile(**stated)
    except ValidationError as error:
        raise ValueError(f"profile {path}: {'; '.join(_told(each) for each in error.errors())}") from error


def _told(error: Any) -> str:
    address = ".".join(str(part) for part in error["loc"])
    if not address:
        return str(error["ctx"]["error"])
    if error["type"] != "extra_forbidden":
        return f"{address} = {error['input']!r}: {error['msg']}"
    models: tuple[type[BaseModel], ...] = (Profile, Classes, Resources)
    valid = list(models[len(error["loc"]) - 1].model_fields)
    near = difflib.get_close_matches(str(error["loc"][-1]), valid, n=1)
    return f"unknown key {address!r}: " + (f"did you mean {near[0]}?" if near else f"valid are {', '.join(valid)}")
