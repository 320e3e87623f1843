"""Metadata is in pyproject.toml; here is only what it cannot say."""

from setuptools import find_packages, setup

setup(
    # twisted.plugins has no __init__.py, nor may it: it adds to Twisted's own package.
    packages=[
        *find_packages(include=["djoauth2_twisted", "djoauth2_twisted.*"]),
        "djoauth2_twisted.stores.sql.migrations.versions",
        "djoauth2_twisted.templates",
        "djoauth2_twisted.templates.admin",
        "twisted.plugins",
    ],
    package_dir={
        "djoauth2_twisted.templates": "templates",
        "djoauth2_twisted.templates.admin": "templates/admin",
    },
    package_data={
        "djoauth2_twisted": ["py.typed", "locale/*/LC_MESSAGES/*"],
        "djoauth2_twisted.protocol": ["common_passwords.txt"],
        "djoauth2_twisted.templates": ["*.html", "*.css", "*.svg"],
        "djoauth2_twisted.templates.admin": ["*.html"],
        "twisted.plugins": ["djoauth2_plugin.py"],
    },
    # Twisted finds plugins in the folders of sys.path, so an editable install must be one of them.
    options={"editable_wheel": {"mode": "compat"}},
    zip_safe=False,
)
