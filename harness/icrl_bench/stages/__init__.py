"""The stages of a plan, one file each: what an artefact is made from, where it lies, and how it is made.

`stage.py` is the contract, with the `Context` that stages work in and `in_order`, which puts a plan's stages in a line;
`collect`, `floors`, `train`, `adapt` and `record` are the stages; `groups`, `rollout` and `source_runs` do the work in them.

A new stage is one file and a mention among the inputs of whatever waits for it:

    class Certificate(Stage[dict[str, float]]):
        kind, folder, there = "certify", "certificates", "it is there"

        @property
        def inputs(self):                  # made before this one
            return (Floors(self.plan),)

        def determinants(self):            # its address is a hash of these
            return {"floors": Floors(self.plan).address}

        def make(self, context):           # under the artefact's lock, only if it is missing
            with context.store.write(self.folder, self.address, {"passed": True}):
                ...

        def read(self, store):
            return store.manifest(self.folder, self.address)
"""
