"""The start of tests that run stages: a folder as a user has it."""

import shutil

import pytest


@pytest.fixture(scope="session")
def make_project(tmp_path_factory, encoder_folder, texts_table):
    """Make a folder of an encoder, a table of texts and mine.toml: (settings, texts) -> the folder."""

    def make(settings, texts=texts_table):
        folder = tmp_path_factory.mktemp("project")
        shutil.copytree(encoder_folder, folder / "encoder")
        texts.drop(columns="text_pair").to_csv(folder / "texts.csv", index=False)
        (folder / "mine.toml").write_text(settings)
        return folder

    return make
