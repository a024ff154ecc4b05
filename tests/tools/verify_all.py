#!/usr/bin/env python3
"""verify_all.py ZONEFILE FOLDER SIGNATURES   (needs: pip install dkimpy pynacl)

Runs verify_dkim.py over every file of FOLDER, on every core. Prints how many messages verified, and what
verify_dkim.py says of the first that does not. Exit 0 only if each has SIGNATURES signatures and all pass.
"""
import contextlib, io, multiprocessing, os, sys
import verify_dkim

def judge(task):
    path, zone, signatures = task
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        bad = verify_dkim.main(path, zone)
    passed = said.getvalue().count(": PASS ")
    return None if not bad and passed == signatures else f"{path}: {passed} pass\n{said.getvalue()}"

def main(zone, folder, signatures):
    files = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    with multiprocessing.Pool() as pool:
        complaints = [c for c in pool.imap_unordered(judge, ((f, zone, int(signatures)) for f in files), 50) if c]
    print(f"{len(files) - len(complaints)} of {len(files)} messages verify")
    if complaints:
        print(complaints[0])
    return 1 if complaints or not files else 0

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
