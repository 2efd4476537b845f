import pytest
from bad_inputs import Shared


@pytest.fixture(scope="session")
def shared():
    shared = Shared()
    yield shared
    shared.close()
