"""One picture edited by words, without Prefect: `python examples/edit_one_picture.py PICTURE OUTPUT.png`.

Any of the three methods takes the place of `GlobalEdit`: `MapperEdit(mapper="beard")`, or
`OptimizeEdit(target="a face with a beard", space="s", in_sigma=True, steps=100)`.
"""

import sys

from PIL import Image

import storage
import styleclip
from styleclip.directions import ChannelDirections
from styleclip.methods import GlobalEdit
from styleclip.methods.pictures import edit_picture

models = styleclip.load_bundle("avatars")
directions = ChannelDirections.of(storage.DirectionStore.open(str(models.directions)), models)
edit = GlobalEdit(target="a face with a beard", alpha=2, channels=4)
edited = edit_picture(Image.open(sys.argv[1]), edit, models, directions)
edited.save(sys.argv[2])
