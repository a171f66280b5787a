"""Images in few large files, TFRecord, RecordIO and tar shards, read and written without a framework."""
