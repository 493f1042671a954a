"""Files that have to be converted, made by hand; and programs that stand in the place of the one that converts."""

import io
import sys
import zipfile
from pathlib import Path

from agent_pipeline.documents.conversion import ConversionProcess

HTML = (
    "<html><head><title>Tasks</title><style>p {}</style></head><body><h1>Nurseries</h1>"
    "<p>A <b>nursery</b> is where tasks live.</p><script>alert(1)</script></body></html>"
)


def pdf(*pages: str) -> bytes:
    """Return a PDF with a line of text on each page."""
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode()]
    for number, text in enumerate(pages):
        drawn = f"BT /F1 12 Tf 50 750 Td ({text}) Tj ET".encode()
        font = "/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {4 + 2 * number} 0 R "
            f"/Resources << {font} >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn))
    content, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(content))
    return content + head + table + end


_WORD = "http://schemas.openxmlformats.org"
_DRAWN = f"{_WORD}/drawingml/2006"
_PICTURE = (
    f'<w:p><w:r><w:drawing><wp:inline xmlns:wp="{_DRAWN}/wordprocessingDrawing"><wp:docPr descr="far"/>'
    f'<a:graphic xmlns:a="{_DRAWN}/main"><a:graphicData><pic:pic xmlns:pic="{_DRAWN}/picture">'
    '<pic:blipFill><a:blip r:link="rId9"/></pic:blipFill></pic:pic></a:graphicData></a:graphic></wp:inline>'
    "</w:drawing></w:r></w:p>"
)


def docx(*paragraphs: str, picture: str | None = None) -> bytes:
    """Return a Word file; with a picture that lies somewhere else, where one is named."""
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs) + (_PICTURE if picture else "")
    relation = f"{_WORD}/officeDocument/2006/relationships"
    far = f'<Relationship Id="rId9" Type="{relation}/image" Target="{picture}" TargetMode="External"/>'
    files = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{_WORD}/package/2006/relationships"><Relationship Id="rId1" '
        f'Type="{relation}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{_WORD}/package/2006/relationships">'
        f"{far if picture else ''}</Relationships>",
        "word/document.xml": f'<w:document xmlns:w="{_WORD}/wordprocessingml/2006/main" xmlns:r="{relation}">'
        f"<w:body>{body}</w:body></w:document>",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


FAKE = """
import json, os, resource, sys, time
asking, answering = sys.stdin.buffer, sys.stdout.buffer

def answer(text, **head):
    content = text.encode()
    answering.write(json.dumps({{"size": len(content), "title": None, **head}}).encode() + b"\\n" + content)
    answering.flush()

while line := asking.readline():
    asked = json.loads(line)
    content = asking.read(asked["size"])
    {answer}
"""


def fake(folder: Path, answer: str, *, timeout: float = 60.0) -> ConversionProcess:
    """Return a process that answers as one statement says: it may use `content` and call `answer`."""
    program = folder / "fake.py"
    program.write_text(FAKE.format(answer=answer), encoding="utf-8")
    return ConversionProcess([sys.executable, str(program)], timeout=timeout)


EVIL = """
import os, socket, subprocess, sys
from agent_pipeline.documents import conversion_child as child
from markitdown import DocumentConverterResult

class Evil:
    def convert(self, stream, info):
        return DocumentConverterResult(markdown=str({does}))

child._CONVERTERS[".html"] = Evil
child.main()
"""


def evil(does: str) -> ConversionProcess:
    """Return the real program with a converter that a hostile file has taken over."""
    return ConversionProcess([sys.executable, "-c", EVIL.format(does=does)])
