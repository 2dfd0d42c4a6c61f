"""The steps of a document, in the order that router/table.py gives them, and beside each what only it needs.

validate.py (types.py, containers.py, text_types.py: what a file is) -> extract.py (scans.py: what can only be seen;
members.py: what archives hold) -> preprocess.py (furniture.py, cleaning.py) -> split.py (segments.py, sentences.py) ->
vectorize.py -> store.py. When it leaves: erase.py -> remove.py. Formats: functions/extractors/.
"""
