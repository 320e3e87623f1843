"""Metadata is in pyproject.toml; here is only what it cannot say."""

from setuptools import find_packages, setup

setup(
    # twisted.plugins has no __init__.py, nor may it: it adds to Twisted's own package.
    packages=[
        *find_packages(include=["djoauth2_twisted", "djoauth2_twisted.*"]),
        "djoauth2_twisted.stores.sql.migrations",
        "djoauth2_twisted.stores.sql.migrations.versions",
        "djoauth2_twisted.templates",
        "twisted.plugins",
    ],
    package_dir={"djoauth2_twisted.templates": "templates"},
    package_data={
        "djoauth2_twisted": ["py.typed"],
        "djoauth2_twisted.templates": ["*.html", "*.css"],
        "twisted.plugins": ["djoauth2_plugin.py"],
    },
    # Twisted finds plugins in the folders of sys.path, so an editable install must be one of them.
    options={"editable_wheel": {"mode": "compat"}},
    zip_safe=False,
)
