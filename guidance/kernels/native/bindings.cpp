// The thin door: shapes, types and memory order are checked here, raw pointers go inside, the GIL is released.
#include "bindings.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>

#include <cmath>
#include <tuple>

#include "kernels.hpp"

namespace nb = nanobind;
using namespace nb::literals;

// The stub's words for arrays: what the stub generator would write itself is long, and untyped for pixels.
#define U8_ARRAY "numpy.typing.NDArray[numpy.uint8]"
#define I32_ARRAY "numpy.typing.NDArray[numpy.int32]"
#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"
#define PIXELS "numpy.typing.NDArray[typing.Any]"

namespace {

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;
using Bytes = In<std::uint8_t, nb::ndim<1>>;
using Points = In<double, nb::shape<-1, 3>>;
using Pixels = nb::ndarray<nb::ro, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Strokes = In<float, nb::shape<-1, guidance::kStrokeNumbers>>;
using SpriteTable = In<std::int32_t, nb::shape<-1, guidance::kSpriteNumbers>>;
using Plane = Out<std::uint8_t, nb::ndim<2>>;

guidance::Picture picture_of(const Pixels& pixels) {
  const auto picture = [&](guidance::PixelType type) {
    return guidance::Picture{pixels.data(), pixels.shape(0), pixels.shape(1), type};
  };
  if (pixels.dtype() == nb::dtype<std::uint8_t>()) return picture(guidance::PixelType::kU8);
  if (pixels.dtype() == nb::dtype<std::int8_t>()) return picture(guidance::PixelType::kI8);
  if (pixels.dtype() == nb::dtype<std::uint16_t>()) return picture(guidance::PixelType::kU16);
  if (pixels.dtype() == nb::dtype<std::int16_t>()) return picture(guidance::PixelType::kI16);
  if (pixels.dtype() == nb::dtype<float>()) return picture(guidance::PixelType::kF32);
  throw nb::type_error("pixels must be uint8, int8, uint16, int16 or float32");
}

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

guidance::Window window_of(double low, double high) {
  require(std::isfinite(low) && std::isfinite(high) && low < high, "the window needs finite low < high");
  return {low, high};
}

bool overlap(const void* a, std::size_t size_a, const void* b, std::size_t size_b) {
  const auto first_a = reinterpret_cast<std::uintptr_t>(a);
  const auto first_b = reinterpret_cast<std::uintptr_t>(b);
  return first_a < first_b + size_b && first_b < first_a + size_a;
}

guidance::Crc64Variant variant_of(std::string_view name) {
  for (const guidance::Crc64Choice& choice : guidance::kCrc64Choices)
    if (choice.name == name && guidance::crc64_available(choice.variant)) return choice.variant;
  throw nb::value_error("no such CRC variant on this processor");
}

std::tuple<std::uint64_t, std::uint64_t> compose_frame(const Pixels& pixels, double low, double high,
                                                       const Strokes& strokes, const Bytes& sprites,
                                                       const SpriteTable& sprite_table,
                                                       const Out<std::uint8_t, nb::shape<-1, -1, 3>>& rgb,
                                                       const Out<std::uint8_t, nb::shape<-1, -1, 4>>& rgba,
                                                       const Plane& dirty, std::size_t under) {
  const guidance::Picture picture = picture_of(pixels);
  const guidance::Window window = window_of(low, high);
  const guidance::Layer layer{rgba.data(), dirty.data(), rgba.shape(0), rgba.shape(1)};
  const guidance::Scene scene{strokes.data(),      strokes.shape(0),      sprites.data(), sprites.size(),
                              sprite_table.data(), sprite_table.shape(0), under};
  require(picture.rows == rgb.shape(0) && picture.columns == rgb.shape(1), "rgb_out must have the picture's size");
  require(picture.rows == layer.rows && picture.columns == layer.columns, "layer must have the picture's size");
  require(dirty.shape(0) == layer.tile_rows() && dirty.shape(1) == layer.tile_columns(),
          "dirty must have dirty_shape(rows, columns)");
  require(under <= scene.stroke_count, "under must not be more than there are strokes");
  require(guidance::sprites_fit(scene), "sprite_table points outside sprites");
  require(!overlap(pixels.data(), pixels.nbytes(), rgb.data(), rgb.nbytes()) &&
              !overlap(pixels.data(), pixels.nbytes(), rgba.data(), rgba.nbytes()) &&
              !overlap(rgb.data(), rgb.nbytes(), rgba.data(), rgba.nbytes()),
          "pixels, rgb_out and layer must not share memory");
  guidance::FrameCrcs crcs{};
  {
    nb::gil_scoped_release release;
    crcs = guidance::compose_frame(picture, window, scene, layer, rgb.data());
  }
  return {crcs.rgb, crcs.layer};
}

}  // namespace

NB_MODULE(_core, m) {
  // Caches keep prepared volumes and surfaces until the process ends: no leak, and nothing for a user's terminal.
  nb::set_leak_warnings(false);
  m.doc() = "Native kernels of the guidance server; the documented face is guidance.kernels.";
  m.attr("TILE_ROWS") = guidance::kTileRows;
  m.attr("TILE_COLUMNS") = guidance::kTileColumns;
  m.def("instruction_set", &guidance::instruction_set);
  m.def(
      "crc64",
      [](const Bytes& bytes, std::uint64_t crc) {
        nb::gil_scoped_release release;
        return guidance::crc64(bytes.data(), bytes.size(), crc);
      },
      "data"_a.noconvert(), "crc"_a = 0, nb::sig("def crc64(data: " U8_ARRAY ", crc: int = 0) -> int"));
  m.def(
      "crc64_with",
      [](std::string_view variant, const Bytes& bytes, std::uint64_t crc) {
        const guidance::Crc64Variant chosen = variant_of(variant);
        nb::gil_scoped_release release;
        return guidance::crc64_with(chosen, bytes.data(), bytes.size(), crc);
      },
      "variant"_a, "data"_a.noconvert(), "crc"_a = 0,
      nb::sig("def crc64_with(variant: str, data: " U8_ARRAY ", crc: int = 0) -> int"));
  m.def("crc64_variants", [] {
    nb::list names;
    for (const guidance::Crc64Choice& choice : guidance::kCrc64Choices)
      if (guidance::crc64_available(choice.variant)) names.append(nb::str(choice.name.data(), choice.name.size()));
    return nb::typed<nb::list, nb::str>(names);
  });
  m.def("crc64_zeros", &guidance::crc64_zeros, "crc"_a, "size"_a);
  m.def("crc64_combine", &guidance::crc64_combine, "crc_a"_a, "crc_b"_a, "length_b"_a);
  m.def(
      "project_points",
      [](const Points& points, const In<double, nb::shape<3, 4>>& matrix, const Out<double, nb::shape<-1, 3>>& out) {
        require(points.shape(0) == out.shape(0), "out must have one row per point");
        nb::gil_scoped_release release;
        guidance::project_points(points.data(), points.shape(0), matrix.data(), out.data());
      },
      "points_mm"_a.noconvert(), "pixel_from_patient"_a.noconvert(), "out"_a.noconvert(),
      nb::sig("def project_points(points_mm: " F64_ARRAY ", pixel_from_patient: " F64_ARRAY ", out: " F64_ARRAY
              ") -> None"));
  m.def(
      "window_levels",
      [](const Pixels& pixels) {
        const guidance::Picture picture = picture_of(pixels);
        guidance::Window window{};
        {
          nb::gil_scoped_release release;
          window = guidance::window_levels(picture);
        }
        return std::tuple{window.low, window.high};
      },
      "pixels"_a.noconvert(), nb::sig("def window_levels(pixels: " PIXELS ") -> tuple[float, float]"));
  m.def(
      "grey8",
      [](const Pixels& pixels, double low, double high, std::size_t step, const Plane& out) {
        const guidance::Picture picture = picture_of(pixels);
        const guidance::Window window = window_of(low, high);
        require(step >= 1 && step <= guidance::kLargestStep, "step must be 1 to 64");
        require(out.shape(0) == picture.rows / step && out.shape(1) == picture.columns / step,
                "out must have (rows // step, columns // step)");
        require(!overlap(pixels.data(), pixels.nbytes(), out.data(), out.nbytes()), "out must not share memory");
        nb::gil_scoped_release release;
        guidance::grey8(picture, window, step, out.data());
      },
      "pixels"_a.noconvert(), "low"_a, "high"_a, "step"_a, "out"_a.noconvert(),
      nb::sig("def grey8(pixels: " PIXELS ", low: float, high: float, step: int, out: " U8_ARRAY ") -> None"));
  m.def("compose_frame", &compose_frame, "pixels"_a.noconvert(), "low"_a, "high"_a, "strokes"_a.noconvert(),
        "sprites"_a.noconvert(), "sprite_table"_a.noconvert(), "rgb_out"_a.noconvert(), "layer"_a.noconvert(),
        "dirty"_a.noconvert(), "under"_a = 0,
        nb::sig("def compose_frame(pixels: " PIXELS ", low: float, high: float, strokes: " F32_ARRAY
                ", sprites: " U8_ARRAY ", sprite_table: " I32_ARRAY ", rgb_out: " U8_ARRAY ", layer: " U8_ARRAY
                ", dirty: " U8_ARRAY ", under: int = 0) -> tuple[int, int]"));
  bind_drr(m);
  bind_cement(m);
  bind_cement_body(m);
  bind_corridor(m);
  bind_distance(m);
  bind_ridge(m);
  bind_tubes(m);
  bind_silhouette(m);
  bind_watch(m);
}
