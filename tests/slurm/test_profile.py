"""Profiles: what is read, and what is refused by its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm.profile import EXAMPLES, Profile, read_profile


@pytest.mark.parametrize("name", ["generic", "apptainer", "one-node"])
def test_the_examples_are_profiles(name):
    assert read_profile(Path(name)) == read_profile(EXAMPLES / f"{name}.toml") != Profile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partion = 'gpu'", "unknown key 'partion': did you mean partition?"),
        ("[classes.large]\ncpus = 1", "unknown key 'classes.large': valid are cpu, gpu, gpus"),
        ("[classes.gpu]\nminute = 3", "unknown key 'classes.gpu.minute': did you mean minutes?"),
        ("[classes.gpu]\nminutes = 0", "classes.gpu.minutes = 0: Input should be greater than or equal to 1"),
        ("notice_seconds = 'soon'", "notice_seconds = 'soon': Input should be a valid integer"),
        (
            "notice_seconds = 100_000\n[classes.cpu]\nminutes = 1",
            "mine.toml: notice_seconds = 100000 is not less than classes.cpu.minutes = 1: a job would be told of its end before it begins",
        ),
        ("partition", "is not TOML"),
    ],
)
def test_a_mistake_is_named_by_its_key(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=r"mine\.toml") as error:
        read_profile(tmp_path / "mine.toml")
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_named_with_the_examples(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.toml cannot be read \(No such file .*: name a file, or one of apptainer, generic"):
        read_profile(tmp_path / "nowhere.toml")


def test_a_class_keeps_what_the_profile_does_not_say_of_it(tmp_path):
    """A training whose class lost its GPU would be hours of a processor, without a word."""
    (tmp_path / "mine.toml").write_text("[classes.gpu]\nminutes = 480\n[classes.gpus]\nmemory_gb = 256\n[classes.cpu]\ncpus = 2\n")
    cpu, gpu, gpus = (resources for _, resources in read_profile(tmp_path / "mine.toml").classes)
    assert (gpu.minutes, gpu.gpus, gpu.processes, gpu.cpus) == (480, 1, 1, 4)
    assert (gpus.memory_gb, gpus.gpus, gpus.processes, gpus.minutes) == (256, 4, 4, 240)
    assert (cpu.cpus, cpu.gpus) == (2, 0)
    (tmp_path / "mine.toml").write_text("[classes.gpus]\ngpus = 0\nprocesses = 2\n")
    stated = read_profile(tmp_path / "mine.toml").classes.gpus
    assert (stated.gpus, stated.processes) == (0, 2), "what is stated is stronger"


def test_a_profile_says_everything_or_nothing():
    """What a key leaves out is not given to sbatch; a class's partition is stronger than the profile's."""
    profile = read_profile(Path("generic"))
    assert profile.classes.cpu.partition == "cpu" and profile.partition == "gpu" and profile.qos is None
    with pytest.raises(ValueError):
        profile.parallel = 3
