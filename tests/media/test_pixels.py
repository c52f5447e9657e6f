"""The pixels that must come out of image files: every mode of Pillow, with and without transparency, in every orientation."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from seawall.errors import DataError
from seawall.media.modality import find_modality, read_medium
from seawall.media.pixels import to_rgb

GREYS = (0, 80, 160, 255)
"""Greys of the quadrants of a picture: upper left, upper right, lower left, lower right."""
WIDTH, HEIGHT = 64, 48
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright picture, by EXIF orientation."""


def draw(values=GREYS, dtype=np.uint8):
    """Return a picture of four quadrants."""
    picture = np.empty((HEIGHT, WIDTH), dtype)
    for value, place in zip(values, np.ndindex(2, 2), strict=True):
        rows, columns = (
            slice(at * edge // 2, (at + 1) * edge // 2) for at, edge in zip(place, picture.shape, strict=True)
        )
        picture[rows, columns] = value
    return picture


def read(path):
    return np.asarray(read_medium(find_modality("image"), path))


def corners(pixels):
    """Return one pixel of each quadrant, and check that the picture is upright."""
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
    rows, columns = (HEIGHT // 4, 3 * HEIGHT // 4), (WIDTH // 4, 3 * WIDTH // 4)
    return [tuple(int(value) for value in pixels[row, column]) for row in rows for column in columns]


def grey(*values):
    return [(value,) * 3 for value in values]


def save(tmp_path, image, kind, **settings):
    path = tmp_path / "picture.png"  # the reader looks at the content
    best = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    image.save(path, kind, **best.get(kind, {}), **settings)
    return path


PICTURE = Image.fromarray(draw())
WIDE = draw((0, 20_000, 40_000, 65_535), np.uint16)
OPAQUE = {
    "1": (PICTURE.convert("1", dither=Image.Dither.NONE), ("PNG", "TIFF", "BMP"), grey(0, 0, 255, 255), 0),
    "L": (PICTURE, ("PNG", "TIFF", "BMP", "JPEG", "JPEG2000", "GIF"), grey(*GREYS), 1),
    "P": (PICTURE.convert("P"), ("PNG", "TIFF", "BMP", "GIF"), grey(*GREYS), 0),
    "RGB": (PICTURE.convert("RGB"), ("PNG", "TIFF", "BMP", "JPEG", "WEBP", "AVIF", "JPEG2000"), grey(*GREYS), 4),
    "CMYK": (PICTURE.convert("CMYK"), ("TIFF", "JPEG"), grey(*GREYS), 2),
    "YCbCr": (PICTURE.convert("YCbCr"), ("TIFF", "JPEG"), grey(*GREYS), 2),
    "LAB": (PICTURE.convert("RGB").convert("LAB"), ("TIFF",), grey(*GREYS), 3),
    "HSV": (PICTURE.convert("HSV"), (), grey(*GREYS), 1),
    "RGBX": (PICTURE.convert("RGBX"), ("TIFF",), grey(*GREYS), 0),
    "I;16": (Image.fromarray(WIDE), ("PNG", "TIFF", "JPEG2000"), grey(0, 78, 156, 255), 0),
    "I;16B": (Image.fromarray(WIDE.astype(">u2")), ("PNG", "TIFF"), grey(0, 78, 156, 255), 0),
    "I;16L": (Image.frombytes("I;16L", (WIDTH, HEIGHT), WIDE.astype("<u2").tobytes()), (), grey(0, 78, 156, 255), 0),
    "I;16N": (Image.frombytes("I;16N", (WIDTH, HEIGHT), WIDE.tobytes()), (), grey(0, 78, 156, 255), 0),
    "I": (Image.fromarray(WIDE.astype(np.int32)), ("PPM",), grey(0, 78, 156, 255), 0),
}
"""Mode -> image, formats that keep it, the pixels that must come out, and the largest error of lossy formats."""
ALPHAS = (0, 255, 128, 255)
"""Opacity of the quadrants of a transparent picture."""
LAYERED = Image.merge("LA", (PICTURE, Image.fromarray(draw(ALPHAS))))
TRANSPARENT = {
    "LA": (LAYERED, ("PNG", "TIFF")),
    "La": (LAYERED.convert("La"), ()),
    "RGBA": (LAYERED.convert("RGBA"), ("PNG", "TIFF", "WEBP", "AVIF", "JPEG2000")),
    "RGBa": (LAYERED.convert("RGBA").convert("RGBa"), ()),
    "PA": (LAYERED.convert("RGBA").convert("PA"), ("TIFF",)),
}
"""Mode with transparency -> image and formats that keep it. Black, fully transparent, is the upper left quadrant."""
ON_WHITE = grey(255, 80, 207, 255)
UNDEFINED = {"I": ("TIFF", np.int32), "F": ("TIFF", np.float32)}
"""Modes for which no white is defined, with a format that keeps them."""


def test_the_table_has_every_mode_of_pillow():
    assert {*OPAQUE, *TRANSPARENT, *UNDEFINED} == {*Image.MODES}


@pytest.mark.parametrize("mode", OPAQUE)
def test_every_mode_is_converted_by_what_it_means(mode, tmp_path):
    image, kinds, expected, error = OPAQUE[mode]
    if mode != "I":  # only a file says what white is
        assert corners(np.asarray(to_rgb(image.copy()))) == pytest.approx(np.array(expected), abs=min(error, 3))
    for kind in kinds:
        found = corners(read(save(tmp_path, image, kind)))
        assert np.abs(np.subtract(found, expected)).max() <= error, (mode, kind)


@pytest.mark.parametrize("mode", TRANSPARENT)
def test_transparent_images_are_shown_on_white(mode, tmp_path):
    image, kinds = TRANSPARENT[mode]
    assert np.abs(np.subtract(corners(np.asarray(to_rgb(image.copy()))), ON_WHITE)).max() <= 1
    for kind in kinds:
        found = corners(read(save(tmp_path, image, kind)))
        assert np.abs(np.subtract(found, ON_WHITE)).max() <= (3 if kind == "AVIF" else 1), (mode, kind)


@pytest.mark.parametrize("mode", UNDEFINED)
def test_modes_without_a_defined_white_are_refused(mode, tmp_path):
    kind, dtype = UNDEFINED[mode]
    path = save(tmp_path, Image.fromarray(WIDE.astype(dtype)), kind)
    with pytest.raises(DataError, match=rf"mode {mode}\), for which no white is defined; save it with 8 or 16 bits"):
        read(path)


def test_tiff_files_say_how_many_bits_they_have_and_whether_white_is_zero(tmp_path):
    """Writes a file of 12 bits, and one whose zero is white, which Pillow cannot write."""

    def write(values, bits, photometric):
        data = b"".join(struct.pack("<H", value) for value in values.ravel().tolist())
        if bits == 12:
            pairs = values.reshape(-1, 2).tolist()
            data = b"".join(((first << 12) | second).to_bytes(3, "big") for first, second in pairs)
        tags = {
            256: WIDTH,
            257: HEIGHT,
            258: bits,
            259: 1,
            262: photometric,
            273: 8,
            277: 1,
            278: HEIGHT,
            279: len(data),
        }
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        path = tmp_path / "a.png"
        path.write_bytes(
            struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
        )
        return path

    assert corners(read(write(draw((0, 1250, 2500, 4095), np.uint16), 12, 1))) == grey(0, 78, 156, 255)
    assert corners(read(write(WIDE, 16, 0))) == grey(255, 177, 99, 0)


def test_a_transparent_colour_of_a_png_file_is_shown_on_white(tmp_path):
    values = (0, 1, 2, 255)
    numbers, colours = Image.fromarray(draw(values)), Image.fromarray(draw()).convert("RGB")
    palette = numbers.convert("P")
    palette.putpalette([value for grey in (0, 80, 160) for value in (grey,) * 3] + [255, 255, 255] * 253)
    expected = grey(255, 80, 160, 255)
    for image, key in ((PICTURE, 0), (colours, (0, 0, 0)), (palette, 0), (palette, b"\0" + b"\xff" * 255)):
        assert corners(read(save(tmp_path, image, "PNG", transparency=key))) == expected, (image.mode, key)
    assert corners(read(save(tmp_path, palette, "GIF", transparency=0))) == expected
    half = corners(read(save(tmp_path, palette, "PNG", transparency=b"\x80" + b"\xff" * 255)))
    assert half == grey(127, 80, 160, 255)
    assert corners(read(save(tmp_path, Image.fromarray(WIDE), "PNG", transparency=20_000))) == grey(0, 255, 156, 255)
    black = PICTURE.convert("1", dither=Image.Dither.NONE)
    assert corners(read(save(tmp_path, black, "PNG", transparency=0))) == grey(255, 255, 255, 255)


def write_png(path, rows, bits, colour, key):
    """Write a PNG file with samples of any size, which Pillow cannot."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0),
        b"tRNS": b"".join(struct.pack(">H", value) for value in key),
        b"IDAT": zlib.compress(b"".join(b"\0" + row for row in rows)),
        b"IEND": b"",
    }
    data = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(data))
    return path


@pytest.mark.parametrize(("bits", "values"), [(2, (0, 1, 2, 3)), (4, (0, 5, 10, 15))])
def test_a_transparent_grey_is_found_among_samples_of_few_bits(bits, values, tmp_path):
    picture = draw(values).reshape(-1, 8 // bits).astype(int)
    packed = sum(picture[:, at] << (8 - bits * (at + 1)) for at in range(8 // bits)).astype(np.uint8)
    rows = [row.tobytes() for row in packed.reshape(HEIGHT, -1)]
    path = write_png(tmp_path / "a.png", rows, bits, 0, [values[1]])
    assert corners(read(path)) == grey(0, 255, 170, 255)


def test_a_transparent_colour_is_found_among_samples_of_16_bits(tmp_path):
    rows = [np.repeat(row, 3).astype(">u2").tobytes() for row in WIDE]
    path = write_png(tmp_path / "a.png", rows, 16, 2, [20_000] * 3)
    assert corners(read(path)) == grey(0, 255, 156, 255)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_exif_orientation_is_turned_upright(kind, orientation, tmp_path):
    images = [PICTURE.convert("RGB"), *([LAYERED, Image.fromarray(WIDE)] if kind in ("PNG", "TIFF") else [])]
    for image in images:
        upright = read(save(tmp_path, image, kind))
        stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(image))))
        exif = Image.Exif()
        exif[274] = orientation
        found = read(save(tmp_path, stored, kind, exif=exif))
        assert np.abs(np.subtract(corners(found), corners(upright))).max() <= 3, image.mode


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_an_image_with_broken_exif_data_is_taken_as_upright(tmp_path):
    path = save(tmp_path, PICTURE, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert corners(read(path)) == grey(*GREYS)


def test_animations_are_shown_on_white_and_upright(tmp_path):
    frames = [LAYERED.convert("RGBA"), Image.merge("RGBA", (*[PICTURE] * 3, Image.fromarray(draw((255, 0, 255, 255)))))]
    expected = [ON_WHITE, grey(0, 255, 160, 255)]
    for kind in ("PNG", "WEBP"):
        path = tmp_path / f"a.{kind.lower()}"
        settings = {"lossless": True} if kind == "WEBP" else {"disposal": 1, "blend": 0}
        frames[0].save(path, kind, save_all=True, append_images=frames[1:], **settings)
        video = read_medium(find_modality("video"), path)
        for frame, pixels in zip(video, expected, strict=True):
            assert np.abs(np.subtract(corners(frame), pixels)).max() <= 1, kind
        assert np.abs(np.subtract(corners(read(path)), ON_WHITE)).max() <= 1, "an image is the first frame"
    clear = [
        Image.merge("LA", (PICTURE, Image.fromarray(draw(alphas))))
        for alphas in ((0, 255, 255, 255), (255, 0, 255, 255))
    ]
    first, second = (image.convert("RGBA") for image in clear)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], disposal=2)
    video = read_medium(find_modality("video"), tmp_path / "a.gif")
    assert [corners(frame) for frame in video] == [grey(255, 80, 160, 255), grey(0, 255, 160, 255)]


def test_white_on_a_transparent_ground_is_read_with_a_warning(tmp_path, caplog):
    image = Image.merge("LA", (Image.new("L", (WIDTH, HEIGHT), 255), Image.fromarray(draw((255, 0, 0, 0)))))
    assert read(save(tmp_path, image, "PNG")).min() == 255
    assert "picture.png is white on a transparent ground" in caplog.text


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 40), (40, 1), (3, 40), (40, 3), (2, 5)])
def test_a_tiny_image_is_enlarged_so_that_every_processor_can_take_it(size, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    found = read(save(tmp_path, Image.fromarray(pixels), "PNG"))
    factor = found.shape[0] // size[1]
    assert min(found.shape[:2]) >= 32 and np.array_equal(found[::factor, ::factor], pixels)


def test_an_image_of_too_many_pixels_is_refused(tmp_path):
    path = save(tmp_path, Image.new("1", (14_000, 14_000)), "PNG")
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"picture\.png .* more than 179 million pixels; scale it down"):
        read(path)


def test_no_program_is_run_to_read_an_image(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="not a readable image"):
        read(path)
