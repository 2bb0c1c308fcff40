"""
Metadata of the distribution C{authotron-client}, whose modules stand in C{../authotron}.

It owns C{authotron/__init__.py} and C{authotron/client}; the distribution C{authotron} has the
other modules, and requires this one.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

SOURCES = Path("..") / "authotron"
VERSION = (SOURCES / "__init__.py").read_text().split('__version__ = "')[1].split('"')[0]


class BuildClient(build_py):
    """Takes C{__init__} alone of the package C{authotron} itself."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        return [each for each in found if each[0] != "authotron" or each[1] == "__init__"]


setup(
    name="authotron-client",
    version=VERSION,
    description="For backends behind the authotron gateway: verify its JWTs, in any framework",
    long_description=Path("README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    cmdclass={"build_py": BuildClient},
    package_dir={"authotron": str(SOURCES)},
    packages=[
        "authotron",
        "authotron.client",
        *(f"authotron.client.{name}" for name in find_packages(str(SOURCES / "client"))),
    ],
    package_data={"authotron": ["py.typed"]},
    include_package_data=False,
    entry_points={"pytest11": ["authotron = authotron.client.pytest_plugin"]},
    install_requires=[
        "cryptography>=42",  # keys of every kind
        "pyjwt>=2.13",  # 2.13 binds the algorithm to the key (GHSA-jq35-7prp-9v3f)
    ],
    extras_require={
        "aiohttp": ["aiohttp>=3.9"],
        "django": ["django>=4.2"],
        "drf": ["django>=4.2", "djangorestframework>=3.15"],
        "fastapi": ["fastapi>=0.110"],
        "flask": ["flask>=3.0"],
        "grpc": ["grpcio>=1.60"],
        "httpx": ["httpx>=0.27"],
        "klein": ["klein>=24.8", "twisted>=24.7"],
        "litestar": ["litestar>=2.12"],
        "requests": ["requests>=2.32"],
        "starlette": ["starlette>=0.37"],
        "test": ["pytest>=8.0"],
        "treq": ["treq>=24.9", "twisted>=24.7"],
        "twisted": ["twisted>=24.7"],
    },
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: WWW/HTTP",
        "Typing :: Typed",
    ],
)
