"""Reads the journal of a library as docs/drive-format.md says, and prints what it tells as one JSON object."""
import json, os, re, sys, zlib

root = os.path.join(sys.argv[1], ".iclood")
identity = json.load(open(os.path.join(root, "library.json"), encoding="utf-8"))
mine = {identity["id"], identity.get("mirror_of")}
folder = os.path.join(root, "journal")
damaged = 0


def lines_of(name):
    """The good lines of a file, parsed."""
    global damaged
    content = open(os.path.join(folder, name), "rb").read()
    for line in content.split(b"\n"):
        cut = line.rfind(b',"crc":')
        if cut >= 0 and line[cut:] == b',"crc":"%08x"}' % zlib.crc32(line[:cut]):
            yield json.loads(line)
        elif line:
            damaged += 1


files = []
for name in os.listdir(folder):
    match = re.fullmatch(r"(\d{8}|[1-9]\d{8,14})-(snapshot|log)\.jsonl", name)
    if match is None:
        continue
    lines = list(lines_of(name))
    header = lines[0] if lines and lines[0]["type"] == "header" else None
    if header is not None and header["format"] != 1:
        sys.exit("written by a later version")
    if header is not None and header["library"] not in mine:
        continue
    is_complete = match[2] == "snapshot" and len(lines) > 0 and lines[-1]["type"] == "end"
    files.append((int(match[1]), match[2] != "snapshot", is_complete, lines))

files.sort(key=lambda file: file[:2])
snapshots = [number for number, _, is_complete, _ in files if is_complete]
if snapshots:
    first = snapshots[-1]
    files = [f for f in files if (f[0] == first and f[2]) or (f[0] >= first and f[1])]

backups, ignored, originals = {}, {}, {}
for _, _, _, lines in files:
    for line in lines:
        kind = line.pop("type")
        line.pop("crc")
        if kind == "backup":
            backups[line["id"]] = line
            if line["original"] is not None:
                originals[line["original"]["path"]] = line["original"]
        elif kind == "ignored":
            ignored[line["id"]] = line
        elif kind == "original":
            originals[line["path"]] = line
        elif kind == "removed" and line["what"] == "original":
            originals.pop(line["path"], None)
        elif kind == "removed":
            {"backup": backups, "ignored": ignored}[line["what"]].pop(line["id"], None)

json.dump({"backups": backups, "ignored": ignored, "originals": originals, "damaged": damaged}, sys.stdout)
