// The door of the strips, their ridges and the rods along them.
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "ridge.hpp"
#include "rod.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define U8_ARRAY "numpy.typing.NDArray[numpy.uint8]"
#define BOOL_ARRAY "numpy.typing.NDArray[numpy.bool_]"
#define I32_ARRAY "numpy.typing.NDArray[numpy.int32]"
#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"
#define PIXELS "numpy.typing.NDArray[typing.Any]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;
using Pixels = nb::ndarray<nb::ro, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Pairs = In<double, nb::shape<-1, 2>>;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

guidance::PixelType type_of(const Pixels& pixels) {
  if (pixels.dtype() == nb::dtype<std::uint8_t>()) return guidance::PixelType::kU8;
  if (pixels.dtype() == nb::dtype<std::int8_t>()) return guidance::PixelType::kI8;
  if (pixels.dtype() == nb::dtype<std::uint16_t>()) return guidance::PixelType::kU16;
  if (pixels.dtype() == nb::dtype<std::int16_t>()) return guidance::PixelType::kI16;
  if (pixels.dtype() == nb::dtype<float>()) return guidance::PixelType::kF32;
  throw nb::type_error("pixels must be uint8, int8, uint16, int16 or float32");
}

constexpr std::size_t kMostSamples = std::size_t{1} << 28;

guidance::Picture picture_of(const Pixels& pixels) {
  const guidance::Picture picture{pixels.data(), pixels.shape(0), pixels.shape(1), type_of(pixels)};
  require(picture.rows >= 2 && picture.columns >= 2, "the picture must have two rows and columns at least");
  require(picture.rows * picture.columns < (std::size_t{1} << 31), "the picture is too large");
  return picture;
}

void sample_strip(const Pixels& pixels, const Pairs& starts, const Pairs& steps, std::size_t columns,
                  std::tuple<std::size_t, std::size_t> bins, std::tuple<double, double, double, double> bounds,
                  bool logarithm, int sign, const Out<float, nb::ndim<2>>& out) {
  const guidance::Picture picture = picture_of(pixels);
  const auto [bin_lines, bin_columns] = bins;
  const auto [left, top, right, bottom] = bounds;
  require(starts.shape(0) == steps.shape(0), "starts and steps must have one row per line");
  require(bin_lines >= 1 && bin_columns >= 1, "bins must be 1 or more");
  require(sign == 1 || sign == -1, "sign must be 1 or -1");
  require(out.shape(0) == starts.shape(0) / bin_lines && out.shape(1) == columns / bin_columns,
          "out must have the shape of the binned strip");
  for (std::size_t i = 0; i < 2 * starts.shape(0); ++i)
    require(std::isfinite(starts.data()[i]) && std::isfinite(steps.data()[i]), "starts and steps must be finite");
  for (const double bound : {left, top, right, bottom}) require(std::isfinite(bound), "bounds must be finite");
  nb::gil_scoped_release release;
  guidance::sample_strip(picture,
                         {starts.data(),
                          steps.data(),
                          starts.shape(0),
                          columns,
                          bin_lines,
                          bin_columns,
                          {left, top, right, bottom},
                          logarithm,
                          sign == 1},
                         out.data());
}

std::tuple<std::size_t, double> ridge_tracks(const In<float, nb::ndim<2>>& strip,
                                             const In<double, nb::ndim<1>>& width_columns,
                                             const std::optional<In<bool, nb::ndim<2>>>& unknown, double least,
                                             const Out<std::int32_t, nb::ndim<2>>& tracks,
                                             const Out<double, nb::ndim<1>>& scores) {
  const std::size_t rows = strip.shape(0), columns = strip.shape(1);
  require(width_columns.shape(0) == rows && tracks.shape(1) == rows, "one width and one place in tracks per row");
  require(scores.shape(0) == tracks.shape(0), "one score per track");
  require(std::isfinite(least) && least > 0.0, "least must be finite and above 0");
  require(!unknown || (unknown->shape(0) == rows && unknown->shape(1) == columns), "unknown must be as the strip");
  for (std::size_t i = 0; i < rows; ++i)
    require(width_columns.data()[i] >= 0.0 && width_columns.data()[i] < 1e6, "widths must be finite and not below 0");
  const auto* mask = unknown ? reinterpret_cast<const std::uint8_t*>(unknown->data()) : nullptr;
  guidance::RidgeAnswer answer{};
  {
    nb::gil_scoped_release release;
    answer = guidance::ridge_tracks({strip.data(), rows, columns, width_columns.data(), mask, least, tracks.shape(0)},
                                    tracks.data(), scores.data());
  }
  return {answer.count, answer.threshold};
}

constexpr std::size_t kStripNumbers = 11;
constexpr std::size_t kRodNumbers = 17;

std::size_t rods_along(const Pixels& pixels, std::tuple<double, double, double, double> bounds, bool logarithm,
                       int sign, const In<double, nb::shape<kStripNumbers>>& numbers,
                       std::tuple<std::size_t, std::size_t> shape, std::tuple<std::size_t, std::size_t> bins,
                       const std::optional<In<std::uint8_t, nb::ndim<2>>>& metal, double least, double least_of_range,
                       const Out<double, nb::shape<guidance::kMostRods, kRodNumbers>>& out) {
  guidance::RodRequest request{};
  request.picture = picture_of(pixels);
  const auto [left, top, right, bottom] = bounds;
  request.bounds = {left, top, right, bottom};
  for (const double bound : request.bounds) require(std::isfinite(bound), "bounds must be finite");
  require(sign == 1 || sign == -1, "sign must be 1 or -1");
  request.logarithm = logarithm;
  request.positive = sign == 1;
  const double* const n = numbers.data();
  for (std::size_t i = 0; i < kStripNumbers; ++i) require(std::isfinite(n[i]), "the strip's numbers must be finite");
  request.strip = {{n[0], n[1]},
                   {n[2], n[3]},
                   n[4],
                   {n[5], n[6]},
                   n[7],
                   n[8],
                   std::get<0>(shape),
                   std::get<1>(shape),
                   n[9],
                   n[10],
                   std::get<0>(bins),
                   std::get<1>(bins)};
  for (const std::size_t i : {4, 5, 6, 7, 9, 10}) require(n[i] > 0.0, "the strip's lengths must be above 0");
  const std::array<std::size_t, 4> counts{request.strip.rows, request.strip.columns, request.strip.bin_rows,
                                          request.strip.bin_columns};
  std::size_t samples = 1;
  for (const std::size_t count : counts) {
    require(count >= 1 && count <= kMostSamples / samples, "the strip must have samples, and not too many");
    samples *= count;
  }
  if (metal) {
    require(metal->shape(0) >= 1 && metal->shape(1) >= 1, "the metal mask must have cells");
    request.metal = {metal->data(), metal->shape(0), metal->shape(1)};
  }
  require(std::isfinite(least) && std::isfinite(least_of_range), "the least contrast must be finite");
  request.least = least;
  request.least_of_range = least_of_range;
  std::array<guidance::Rod, guidance::kMostRods> rods{};
  std::size_t count = 0;
  {
    nb::gil_scoped_release release;
    count = guidance::rods_along(request, rods.data());
  }
  for (std::size_t i = 0; i < count; ++i) {
    const guidance::Rod& rod = rods[i];
    const auto& c = rod.curve.coefficients;
    const std::array<double, kRodNumbers> row{c[0],
                                              c[1],
                                              c[2],
                                              c[3],
                                              static_cast<double>(rod.curve.terms),
                                              rod.curve.middle,
                                              rod.curve.half,
                                              rod.start,
                                              rod.end,
                                              rod.tip_sigma,
                                              rod.sigma,
                                              rod.width,
                                              rod.contrast,
                                              rod.score,
                                              rod.bend,
                                              static_cast<double>(rod.tip),
                                              rod.goes_on ? 1.0 : 0.0};
    std::copy(row.begin(), row.end(), out.data() + i * kRodNumbers);
  }
  return count;
}

}  // namespace

void bind_ridge(nb::module_& m) {
  m.def("sample_strip", &sample_strip, "pixels"_a.noconvert(), "starts"_a.noconvert(), "steps"_a.noconvert(),
        "columns"_a, "bins"_a, "bounds"_a, "logarithm"_a, "sign"_a, "out"_a.noconvert(),
        nb::sig("def sample_strip(pixels: " PIXELS ", starts: " F64_ARRAY ", steps: " F64_ARRAY
                ", columns: int, bins: tuple[int, int], bounds: tuple[float, float, float, float], logarithm: bool, "
                "sign: int, out: " F32_ARRAY ") -> None"));
  m.attr("ROD_NUMBERS") = kRodNumbers;
  m.def("rods_along", &rods_along, "pixels"_a.noconvert(), "bounds"_a, "logarithm"_a, "sign"_a, "numbers"_a.noconvert(),
        "shape"_a, "bins"_a, nb::arg("metal").noconvert().none(), "least"_a, "least_of_range"_a, "out"_a.noconvert(),
        nb::sig("def rods_along(pixels: " PIXELS
                ", bounds: tuple[float, float, float, float], logarithm: bool, sign: int, numbers: " F64_ARRAY
                ", shape: tuple[int, int], bins: tuple[int, int], metal: " U8_ARRAY
                " | None, least: float, least_of_range: float, out: " F64_ARRAY ") -> int"));
  m.def("ridge_tracks", &ridge_tracks, "strip"_a.noconvert(), "width_columns"_a.noconvert(),
        nb::arg("unknown").noconvert().none(), "least"_a, "tracks"_a.noconvert(), "scores"_a.noconvert(),
        nb::sig("def ridge_tracks(strip: " F32_ARRAY ", width_columns: " F64_ARRAY ", unknown: " BOOL_ARRAY
                " | None, least: float, tracks: " I32_ARRAY ", scores: " F64_ARRAY ") -> tuple[int, float]"));
}
