"""What wavebreak is compared with stays as it was when it was reviewed."""

from __future__ import annotations

import hashlib
from typing import Final

import pytest

from wavebreak.benchmarks.comparing.running import BENCHMARKS

SHA256: Final = """\
3f173cc096249c2c2ea9f4e43bed371742c5f7f3c124e622fbca61f7e5313589  cancel_and_restart.py
a3681a4f334deb18a1be50c8eb64f9dd24dbb26c9469b28e9ab01ae81f3c20c1  hotpath_raw.py
21c8a86820a1a972077e23ed34eb9b455f9ab4c631396698c0725e17c4095b19  raw_asyncio.py
866a8f423b0e3a2e25aeb9432fc0f3a39519a1577528e1d24d489240627627ce  raw_durable.py
92d93f1bc4fba81dd9f3f0c7a2349e1e31ad1d581426613e72c7f2e9756da983  programs/on_async_pykka.py
b5eaeca2e0257cabcdb1d6128e772e44d7eafe57d8a8063140e7e08d9122de34  programs/on_autogen.py
29d72310eafc7c0f2ce67e5869d585d4bf42fded99783e9897828f6a50f0a40e  programs/on_dbos.py
8bc3fdd1e96c3ab2bb75b6effe660f893dc61e9c2e988d84bfe824a7fc4a83ff  programs/on_floor.py
21ea11d69e4fcff743f9a5cb0a293d0a8a5f9168bf2b1087116517f180b94cde  programs/on_langgraph.py
b42b0d703460c5113421641d4e01bf23953e050e4ea96e98ab2c44f9b06e54b1  programs/on_pykka.py
74e6ead8b9fa6033b5b78419e59ac7c6e5731d21c973a887cde6dd69fe1b4f74  programs/on_raw.py
d4a9b1f1291186892fd47ac79a5ecb0f8bf6cc5158bc0f646ea2c3135f09c6ad  programs/on_raw_durable.py
56f15d0a13b5b08f609689f346895810636490c1fe9a07cb409cfe164f939ad0  programs/on_ray.py
d4d1b3e12c1f281a1c970e8ccfd290436f7c2ec0e4eafe68bef10e64172d02ce  programs/on_restart.py
5e8a4b22f5ce48adfbb37d786a74f3b5ea1392ddd4827996a674b489c1d12ff8  programs/on_xoscar.py
bc8f5ff66529440d1ff410fe9be05f81ae49114448c8eb638946250f34a521af  programs/talking.py
"""
"""As ``sha256sum`` prints them in the folder of the benchmarks."""

FROZEN: Final = {line[66:]: line[:64] for line in SHA256.splitlines()}

OURS: Final = {
    "programs/actors_on_wavebreak.py",
    "programs/on_wavebreak.py",
    "programs/growing_on_wavebreak.py",
    "programs/measuring.py",  # counts and clocks, the same for all of them
    "programs/on_promises.py",  # has to promise what we do, and so goes along with us
}


@pytest.mark.parametrize("name", FROZEN)
def test_the_file_of_a_comparator_is_frozen(name: str) -> None:
    found = hashlib.sha256((BENCHMARKS / name).read_bytes()).hexdigest()
    assert found == FROZEN[name], (
        f"{name} is what later figures compare with: leave it as it is. One that was unfair is "
        "mended, reviewed, frozen anew, and its figures are measured again"
    )


def test_every_program_that_is_not_ours_is_frozen() -> None:
    programs = {f"programs/{path.name}" for path in (BENCHMARKS / "programs").glob("*.py")}
    assert sorted(programs - OURS - FROZEN.keys()) == []
