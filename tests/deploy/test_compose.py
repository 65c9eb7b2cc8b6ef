"""docker-compose.yml and deploy/Dockerfile, judged without Docker: schema, pins, confinement, secrets, what Windows breaks."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cellguard.credentials.folder import Folder
from cellguard.credentials.office import Office
from collector.config import load_config
from edge_agent.config import load_edge

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE = CHECKOUT / "docker-compose.yml"
DOCKERFILE = (CHECKOUT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = YAML(typ="safe").load(COMPOSE)["services"]
VOLUMES: dict[str, Any] = YAML(typ="safe").load(COMPOSE)["volumes"]
LASTING = sorted(set(SERVICES) - {"init"})
USER = "10001:10001"


def mounts(service: str) -> dict[str, str]:
    """Volume → where it is mounted."""
    return {name: rest for name, _, rest in (entry.partition(":") for entry in SERVICES[service].get("volumes", []))}


# ---- the file as a whole --------------------------------------------------------------------------------------------


def test_the_file_fits_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_compose_of_the_old_kind_takes_it() -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (apt install docker-compose)")
    done = subprocess.run(
        [program, "--file", str(COMPOSE), "--profile", "demo", "config", "--services"],
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(SERVICES)


def test_every_service_waits_for_what_it_needs_and_nothing_waits_in_a_circle() -> None:
    order: list[str] = []
    left = {name: dict(service.get("depends_on", {})) for name, service in SERVICES.items()}
    while left:
        ready = [name for name, needs in left.items() if set(needs) <= set(order)]
        assert ready, f"a circle among {sorted(left)}"
        order += ready
        left = {name: needs for name, needs in left.items() if name not in ready}

    conditions = {(name, needed): how["condition"] for name in SERVICES for needed, how in
                  SERVICES[name].get("depends_on", {}).items()}  # fmt: skip
    assert order[0] == "init"
    assert all(how == ("service_completed_successfully" if needed == "init" else "service_healthy")
               for (_, needed), how in conditions.items())  # fmt: skip


# ---- each service ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_built_here_and_confined(name: str) -> None:
    service = SERVICES[name]

    assert re.search(r":\d+\.\d+\.\d+$", service["image"])
    assert service["build"] == {"context": ".", "dockerfile": "deploy/Dockerfile", "target": name}
    assert service["user"] == USER
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)
    assert service.get("network_mode") in {None, "none"}


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_service_is_started_again_and_watched(name: str) -> None:
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_of_this_computer_is_mounted(name: str) -> None:
    assert set(mounts(name)) <= set(VOLUMES)


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_stands_in_the_file(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    words = re.compile(r"PASSWORD|TOKEN|SECRET|KEY", re.IGNORECASE)

    secret = {key: value for key, value in environment.items() if words.search(key)}
    assert all(key.endswith("_FILE") and str(value).startswith("/pc/") for key, value in secret.items())


def test_only_the_brokers_tls_doors_are_open_to_the_network_and_grafana_to_this_computer() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert ports == {"mosquitto": ["8883:8883", "8884:8884"], "grafana": ["127.0.0.1:3000:3000"]}


def test_each_secret_is_seen_by_those_who_need_it_alone() -> None:
    seen = {volume: sorted(name for name in LASTING if volume in mounts(name)) for volume in VOLUMES}

    assert seen["keys"] == []
    assert seen["broker"] == ["mosquitto"]
    assert seen["collector"] == ["collector"]
    assert seen["influxdb"] == ["influxdb"]
    assert seen["write-token"] == ["collector", "influxdb"]
    assert seen["read-token"] == ["collector", "grafana", "influxdb"]
    assert seen["grafana"] == ["grafana"]
    assert mounts("grafana")["read-token"].endswith(":ro")
    assert mounts("collector")["write-token"].endswith(":ro")
    assert mounts("collector")["read-token"].endswith(":ro")


# ---- the images -----------------------------------------------------------------------------------------------------


def stage(name: str) -> str:
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def test_every_image_comes_from_a_pinned_base() -> None:
    bases = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
    own = {name for _, name in bases}

    assert all(base in own or re.search(r":\d+\.\d+\.\d+(-[\w.]+)*$", base) for base, _ in bases)
    assert len(bases) == DOCKERFILE.count("\nFROM ")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_ends_as_the_user_that_owns_the_volumes(name: str) -> None:
    assert re.findall(r"^USER (\S+)$", stage(name), re.MULTILINE)[-1] == USER


def test_whatever_pip_installs_is_locked_by_hash_or_built_here() -> None:
    installs = re.findall(r"pip install ([^&\\\n]*)", DOCKERFILE)

    assert len(installs) == 7
    assert all("--require-hashes" in one or "--no-deps /build/wheels/*.whl" in one for one in installs)


@pytest.mark.parametrize("name", ["init", "collector", "influxdb", "grafana", "demo"])
def test_a_volumes_place_is_made_in_the_image_with_its_owner(name: str) -> None:
    """An empty volume takes owner and mode from the image's folder; without one it belongs to root."""
    writable = [place for place in mounts(name).values() if not place.endswith(":ro") and place.startswith("/pc/")]

    assert all(place in stage(name) for place in writable)
    assert "chown -R" in stage(name)


def test_everything_copied_is_let_through_to_the_build() -> None:
    let_through = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
              for source in line.split()[:-1]}  # fmt: skip

    assert {source.split("/")[0] for source in copied} <= let_through
    assert all((CHECKOUT / source).exists() for source in copied)


# ---- the first start ------------------------------------------------------------------------------------------------


@pytest.fixture
def pc(tmp_path: Path) -> Path:
    for volume in mounts("init").values():
        (tmp_path / volume.removeprefix("/pc/")).mkdir(mode=0o700)
    return tmp_path


def init(pc: Path, *arguments: str, hosts: str = "192.168.137.1") -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CELLGUARD_PC": str(pc), "CELLGUARD_HOSTS": hosts}
    script = str(CHECKOUT / "deploy" / "docker" / "init.sh")
    done = subprocess.run(
        ["sh", script, *arguments], text=True, capture_output=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def contents(pc: Path) -> dict[str, bytes]:
    return {str(path.relative_to(pc)): path.read_bytes() for path in pc.rglob("*") if path.is_file()}


def test_the_first_start_makes_everything_and_the_second_changes_nothing(pc: Path) -> None:
    said = init(pc)
    first = contents(pc)
    again = init(pc)

    assert "/pc/keys/clients/lab/rig-1" in said
    assert contents(pc) == first
    assert "a new authority" not in again
    assert not [path for path in pc.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_no_secret_is_printed_and_no_two_installations_share_one(pc: Path, tmp_path: Path) -> None:
    said = init(pc)
    secrets = [text.strip() for name, text in contents(pc).items() if name.endswith(("password", "token"))]

    assert len(secrets) == 5
    assert len(set(secrets)) == 5
    assert not any(secret.decode() in said for secret in secrets)
    assert all(len(secret) >= 24 for secret in secrets)
    assert tmp_path == pc


def test_another_address_renews_the_brokers_certificate_and_keeps_every_client(pc: Path) -> None:
    init(pc)
    before = contents(pc)
    said = init(pc, hosts="10.0.0.7 pc.local")
    after = contents(pc)

    assert "10.0.0.7" in said
    changed = {name for name in after if before.get(name) != after[name]}
    parts = {"keys/broker/broker.crt", "keys/broker/broker.key", "broker/broker.crt", "broker/broker.key", "keys/hosts"}
    assert changed == parts


def test_a_command_given_to_init_reaches_the_broker_too(pc: Path) -> None:
    init(pc)
    init(pc, "cellguard", "broker", "password", "alice", "--role", "viewer", "--dir", str(pc / "keys"))

    assert b"user alice" in (pc / "broker/acl").read_bytes()
    assert b"alice:$7$" in (pc / "broker/passwd").read_bytes()
    assert "alice" in Office(Folder(pc / "keys")).password_users()


def test_the_settings_of_collector_and_demo_name_files_that_init_makes(pc: Path) -> None:
    init(pc)

    collector = load_config(pc / "collector" / "collector.toml", {})
    edge = load_edge(pc / "demo" / "edge.toml")

    for tls in (collector.mqtt.tls, edge.mqtt.tls):
        assert tls is not None
        assert all(path is not None and path.is_file() for path in (tls.ca, tls.cert, tls.key))
    assert (collector.mqtt.host, edge.mqtt.host) == ("mosquitto", "mosquitto")
    assert collector.influx is not None
    assert str(collector.influx.token_file) == "/pc/write-token/token"
    assert str(collector.influx.read_token_file) == "/pc/read-token/influx-read-token"


FAKE_INFLUX = """\
#!/bin/bash
echo "$@" >> "$CALLS"
[ "$1" = auth ] && printf '{\\n\\t"id": "0a",\\n\\t"token": "%s",\\n\\t"permissions": []\\n}\\n' "secret-${*: -3:1}"
exit 0
"""


def test_influxdbs_first_start_makes_a_token_that_writes_and_one_that_reads(pc: Path, tmp_path: Path) -> None:
    """Against a stand-in for the `influx` program: what it is asked for, and where the answers go."""
    program = tmp_path / "bin" / "influx"
    program.parent.mkdir()
    program.write_text(FAKE_INFLUX)
    program.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"),
        "CELLGUARD_PC": str(pc), "DOCKER_INFLUXDB_INIT_ORG": "cellguard", "DOCKER_INFLUXDB_INIT_BUCKET": "cellguard",
        "DOCKER_INFLUXDB_INIT_BUCKET_ID": "b0c4e7",
    }  # fmt: skip
    script = str(CHECKOUT / "deploy" / "docker" / "influxdb-first-start.sh")
    subprocess.run(["bash", script], env=environment, check=True, timeout=30)

    calls = (tmp_path / "calls").read_text()
    assert "v1 dbrp create --db cellguard --rp autogen --bucket-id b0c4e7 --default" in calls
    assert (pc / "write-token/token").read_text().strip() == "secret---write-bucket"
    assert (pc / "read-token/influx-read-token").read_text().strip() == "secret---read-bucket"
    assert "--write-bucket b0c4e7" in calls
    assert calls.count("--read-bucket") == calls.count("--write-bucket") == 1
