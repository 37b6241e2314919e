"""A configuration with most of what Hydra's has, and the loader of an application that has it."""

from __future__ import annotations

import dataclasses

import pytest

FILES = {
    "config.yaml": """
defaults:
  - base_settings
  - model: small
  - opt: adam
  - data/source@data.first: disk
  - optional extra: null
  - _self_
  - late: on_top
lr: 0.1
seed: 0
name: ${model.name}_${lr}
here: ${hydra:runtime.output_dir}
when: ${now:%Y}
who: ${oc.env:HOME,nobody}
relative: {a: 1, b: "${.a}", c: "${..lr}"}
steps: [1, 2, "${lr}"]
tags: {}
missing: ???
text: "a long line of words that YAML folds when it is longer than eighty characters, twice over"
'quoted key': yes
nested: {deep: {deeper: {value: null, "on": true}}}
""",
    "base_settings.yaml": "lr: 5\nbase: {x: 1, y: [1, 2]}\n",
    "model/small.yaml": "name: small\nwidth: 10\ndepth: ${model.width}\n",
    "model/big.yaml": "defaults: [small, _self_]\nname: big\nwidth: 100\nextra: {a: 1}\n",
    "opt/adam.yaml": "_target_: Adam\nbetas: [0.9, 0.999]\nwd: 0.0\n",
    "opt/sgd.yaml": "_target_: SGD\nmomentum: 0.9\n",
    "data/source/disk.yaml": "path: /data\nfast: false\n",
    "data/source/net.yaml": "url: somewhere\nfast: true\n",
    "extra/more.yaml": "# @package _global_\nadded: {by: more}\nlr: 7\n",
    "late/on_top.yaml": "# @package _global_\nlate_key: 1\n",
    "hydra/here.yaml": "",
}


@dataclasses.dataclass
class Typed:
    """A schema: a whole number given for ``scale`` becomes a float."""

    scale: float = 1.0
    n: int = 3
    kind: str = "a"


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def application(conf):
    """The config loader of an application, and the config of a multirun of it."""
    from hydra import initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    ConfigStore.instance().store(group="typed", name="schema", node=Typed)
    with initialize_config_dir(str(conf), version_base="1.3", job_name="app"):
        loader = GlobalHydra.instance().hydra.config_loader
        master = loader.load_configuration(
            "config", ["hydra.sweep.dir=out/${now:%S}"], run_mode=RunMode.MULTIRUN
        )
        _ = master.hydra.sweep.dir
        yield loader, master
