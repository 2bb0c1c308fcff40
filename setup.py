"""Metadata of the package; how it is built stands in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = (HERE / "authotron/__init__.py").read_text().split('__version__ = "')[1].split('"')[0]


class BuildGateway(build_py):
    """Leaves out C{authotron/__init__.py}, which the distribution C{authotron-client} owns."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        return [each for each in found if each[:2] != ("authotron", "__init__")]


setup(
    name="authotron",
    version=VERSION,
    description="An authentication gateway: credentials in, a signed JWT out",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    cmdclass={"build_py": BuildGateway},
    packages=[
        *find_packages(
            include=["authotron", "authotron.*"],
            exclude=["authotron.client", "authotron.client.*"],
        ),
        "twisted.plugins",
    ],
    package_data={
        "authotron": ["cli/*.yaml"],
        "authotron.proxy_config": ["*.txt", "templates/*/*"],
        "authotron.web": ["assets/*"],
        "twisted.plugins": ["authotron_plugin.py"],
    },
    exclude_package_data={"authotron": ["py.typed"]},  # of authotron-client, too
    include_package_data=False,
    entry_points={"console_scripts": ["authotron = authotron.cli.main:main"]},
    install_requires=[
        "argon2-cffi>=23.1",  # password hashes by argon2id; extract_parameters knows all kinds
        f"authotron-client=={VERSION}",  # authotron/__init__.py, and what backends import
        "attrs>=23.1",  # values and parts
        "bcrypt>=4.0",  # password hashes of other systems
        "cachetools>=5.3",  # bounded caches with a time to live
        "click>=8.1",  # the command line, with completion
        "cryptography>=42",  # keys of every kind
        "idna>=3.4",  # names of hosts that are not ASCII
        "jinja2>=3.1",  # the home page
        "klein>=24.8",  # routes; the first that runs on current Twisted
        "ldaptor>=21.2",  # the encoding of LDAP requests; nothing else of it is used
        "prometheus-client>=0.20",  # the text that Prometheus reads
        "pydantic>=2.7",  # the configuration, its mistakes and its schema
        "pyjwt>=2.13",  # 2.13 binds the algorithm to the key (GHSA-jq35-7prp-9v3f)
        "pyopenssl>=24.3",  # TLS connections; the first that gives certificates to cryptography
        "pyyaml>=6.0.1",  # the configuration file
        "pymongo>=4.9,<4.19",  # under txmongo, which uses what is private in it
        "service-identity>=24.1",  # is the remote the one that was asked for?
        "treq>=24.9",  # plays other services in the tests of plugins
        "twisted[tls]>=25.5",  # everything else; 25.5 can leave the bodies of forms alone
        "txmongo>=26.0",  # tokens in MongoDB; the first whose calls can be cancelled
        "werkzeug>=3.0,<4",  # routing under Klein, which leaves its major version open
        "zope.interface>=6",  # what is plugged in
    ],
    extras_require={
        "cel": ["cel-expr-python>=0.1.3"],  # when: in rules of the policy
        # questions of Envoy by gRPC; h2 4.3 rejects split requests (CVE-2025-57804)
        "grpc": ["h2>=4.3", "protobuf>=5.29"],
        "fast": ["uvloop>=0.21"],  # the event loop of the gateway
    },
    classifiers=[
        "Framework :: Twisted",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Systems Administration :: Authentication/Directory",
        "Typing :: Typed",
    ],
)
