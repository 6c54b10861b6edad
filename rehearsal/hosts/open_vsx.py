"""A stand-in for Open VSX, code-server's extension gallery, with empty extensions.

It implements what `code-server --install-extension ID` uses: the query, the latest version of an extension, and its
files, in VS Code's format (src/vs/platform/extensionManagement/common/extensionGalleryService.ts).
"""

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

SITE = "open-vsx.org"
_MANIFEST = "Microsoft.VisualStudio.Code.Manifest"
_PACKAGE = "Microsoft.VisualStudio.Services.VSIXPackage"
_FILTER_BY_ID, _FILTER_BY_NAME = 4, 7
_PUBLISHED = "2025-06-01T00:00:00.000Z"


@dataclass(frozen=True)
class Extension:
    """An extension that does nothing."""

    publisher: str
    name: str
    title: str
    version: str

    @property
    def identifier(self) -> str:
        return f"{self.publisher}.{self.name}"

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.identifier}.{SITE}"))

    def manifest(self) -> bytes:
        """Its package.json."""
        return json.dumps(
            {
                "publisher": self.publisher,
                "name": self.name,
                "displayName": self.title,
                "description": f"Stand-in for {self.title} in a rehearsal",
                "version": self.version,
                "engines": {"vscode": "^1.80.0"},
                "categories": ["Other"],
            }
        ).encode()

    def package(self) -> bytes:
        """The .vsix: a zip of the extension, its manifest and a list of content types."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("extension.vsixmanifest", self._vsix_manifest())
            archive.writestr("[Content_Types].xml", _CONTENT_TYPES)
            archive.writestr("extension/package.json", self.manifest())
        return buffer.getvalue()

    def listing(self) -> dict[str, object]:
        """Its entry in the gallery."""
        return {
            "extensionId": self.uuid,
            "extensionName": self.name,
            "displayName": self.title,
            "publisher": {
                "displayName": self.publisher,
                "publisherId": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.publisher}.{SITE}")),
                "publisherName": self.publisher,
            },
            "versions": [it.as_version() for it in (self, *OLDER) if it.identifier == self.identifier],
            "statistics": [],
            "tags": [],
            "categories": ["Other"],
            "flags": "",
            "releaseDate": _PUBLISHED,
            "publishedDate": _PUBLISHED,
            "lastUpdated": _PUBLISHED,
        }

    def as_version(self) -> dict[str, object]:
        """Its version in a gallery entry."""
        assets = f"https://{SITE}/vscode/asset/{self.publisher}/{self.name}/{self.version}"
        return {
            "version": self.version,
            "lastUpdated": _PUBLISHED,
            "assetUri": assets,
            "fallbackAssetUri": assets,
            "files": [{"assetType": kind, "source": f"{assets}/{kind}"} for kind in (_MANIFEST, _PACKAGE)],
            "properties": [{"key": "Microsoft.VisualStudio.Code.Engine", "value": "^1.80.0"}],
        }

    def _vsix_manifest(self) -> str:
        name, version, publisher = map(quoteattr, (self.name, self.version, self.publisher))
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n'
            '<PackageManifest Version="2.0.0" xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011">'
            f'<Metadata><Identity Language="en-US" Id={name} Version={version} Publisher={publisher}/>'
            '</Metadata><Installation><InstallationTarget Id="Microsoft.VisualStudio.Code"/></Installation>'
            "<Dependencies/>"
            f'<Assets><Asset Type="{_MANIFEST}" Path="extension/package.json" Addressable="true"/></Assets>'
            "</PackageManifest>\n"
        )


_CONTENT_TYPES = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension=".json" ContentType="application/json"/>'
    '<Default Extension=".vsixmanifest" ContentType="text/xml"/></Types>\n'
)

EXTENSIONS = (
    Extension("amazonwebservices", "aws-toolkit-vscode", "AWS Toolkit", "3.65.0"),
    Extension("amazonwebservices", "amazon-q-vscode", "Amazon Q", "1.72.0"),
    Extension("saoudrizwan", "claude-dev", "Cline", "3.17.0"),
)
OLDER = (Extension("saoudrizwan", "claude-dev", "Cline", "3.16.0"),)


def latest(path: str) -> dict[str, object] | None:
    """The response to /vscode/gallery/PUBLISHER/NAME/latest. None: no such extension."""
    for extension in EXTENSIONS:
        if path == f"/vscode/gallery/{extension.publisher}/{extension.name}/latest":
            return extension.listing()
    return None


def query(request: bytes) -> dict[str, object]:
    """The response to POST /vscode/gallery/extensionquery."""
    values = {value.lower() for value in _criteria(request)}
    found = [it.listing() for it in EXTENSIONS if {it.identifier.lower(), it.uuid} & values]
    counts = {"metadataType": "ResultCount", "metadataItems": [{"name": "TotalCount", "count": len(found)}]}
    return {"results": [{"extensions": found, "pagingToken": None, "resultMetadata": [counts]}]}


def asset(path: str) -> tuple[str, bytes] | None:
    """Content type and content of a file under /vscode/asset/. None: no such file."""
    for extension in (*EXTENSIONS, *OLDER):
        folder = f"/vscode/asset/{extension.publisher}/{extension.name}/{extension.version}/"
        if path == folder + _PACKAGE:
            return "application/zip", extension.package()
        if path == folder + _MANIFEST:
            return "application/json", extension.manifest()
    return None


def _criteria(request: bytes) -> Iterator[str]:
    for part in json.loads(request).get("filters", []):
        for criterion in part.get("criteria", []):
            if criterion.get("filterType") in (_FILTER_BY_ID, _FILTER_BY_NAME):
                yield str(criterion.get("value", ""))
