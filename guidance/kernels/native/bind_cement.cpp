// The door of the cement tracker.
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <cmath>
#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "cement_tracker.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define U8_ARRAY "numpy.typing.NDArray[numpy.uint8]"
#define I32_ARRAY "numpy.typing.NDArray[numpy.int32]"
#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"
#define PIXELS "numpy.typing.NDArray[typing.Any]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;
using Pixels = nb::ndarray<nb::ro, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Plane = In<float, nb::ndim<2>>;
using Marks = In<std::uint8_t, nb::ndim<2>>;
using OutPlane = Out<float, nb::ndim<2>>;
using OutMarks = Out<std::uint8_t, nb::ndim<2>>;
using Capsules = In<double, nb::shape<-1, 5>>;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

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

// logarithm, toward, base, sign, bits, low, high, left/top and right/bottom follow in `field`.
guidance::cement::Scale scale_of(const In<double, nb::shape<7>>& numbers, const In<std::int32_t, nb::shape<4>>& field,
                                 std::size_t step, std::size_t rows, std::size_t columns) {
  guidance::cement::Scale scale{};
  scale.step = step;
  scale.rows = rows;
  scale.columns = columns;
  scale.logarithm = numbers(0) != 0.0;
  scale.toward = numbers(1);
  scale.base = numbers(2);
  scale.sign = numbers(3);
  scale.bits = static_cast<std::uint32_t>(numbers(4));
  scale.low = numbers(5);
  scale.high = numbers(6);
  for (std::size_t n = 0; n < 4; ++n) scale.field[n] = field(n);
  return scale;
}

template <class A, class B>
bool same_size(const A& a, const B& b) {
  return a.shape(0) == b.shape(0) && a.shape(1) == b.shape(1);
}

bool finite(const Capsules& capsules) {
  for (std::size_t n = 0; n < capsules.size(); ++n)
    if (!std::isfinite(capsules.data()[n])) return false;
  return true;
}

void require_grid(const Pixels& pixels, std::size_t step, std::size_t rows, std::size_t columns) {
  require(step >= 1 && step <= 64 && rows * step <= pixels.shape(0) && columns * step <= pixels.shape(1),
          "the grid must lie within the picture");
}

nb::tuple contours_of(const guidance::cement::Contours& contours) {
  nb::list lines;
  for (std::size_t n = 0; n < contours.count(); ++n) {
    const std::size_t first = contours.begin(n), size = contours.end(n) - first;
    auto* const points = new double[2 * size];
    nb::capsule owner(points, [](void* memory) noexcept { delete[] static_cast<double*>(memory); });
    for (std::size_t k = 0; k < size; ++k) {
      points[2 * k] = contours.points()[first + k][0];
      points[2 * k + 1] = contours.points()[first + k][1];
    }
    lines.append(nb::ndarray<nb::numpy, double, nb::shape<-1, 2>>(points, {size, 2}, owner).cast());
  }
  return nb::tuple(lines);
}

}  // namespace

void bind_cement(nb::module_& m) {
  namespace cement = guidance::cement;
  m.def(
      "cement_bins",
      [](const Pixels& pixels, std::size_t step, const In<double, nb::shape<7>>& scale,
         const In<std::int32_t, nb::shape<4>>& field, const OutPlane& attenuation, const OutMarks& valid) {
        const guidance::Picture picture = picture_of(pixels);
        require(same_size(attenuation, valid), "attenuation and valid must have one shape");
        require_grid(pixels, step, attenuation.shape(0), attenuation.shape(1));
        const cement::Scale told = scale_of(scale, field, step, attenuation.shape(0), attenuation.shape(1));
        float* const to = attenuation.data();
        std::uint8_t* const to_valid = valid.data();
        nb::gil_scoped_release release;
        const cement::BinStats stats = cement::bin_frame(picture, told, to, to_valid);
        return std::tuple{stats.saturated, stats.black};
      },
      "pixels"_a.noconvert(), "step"_a, "scale"_a.noconvert(), "field"_a.noconvert(), "attenuation"_a.noconvert(),
      "valid"_a.noconvert(),
      nb::sig("def cement_bins(pixels: " PIXELS ", step: int, scale: " F64_ARRAY ", field: " I32_ARRAY
              ", attenuation: " F32_ARRAY ", valid: " U8_ARRAY ") -> tuple[float, float]"));
  m.def(
      "cement_warp",
      [](const Plane& frame, const Marks& valid, double du, double dv, double turn, const OutPlane& out,
         const OutMarks& out_valid) {
        require(same_size(frame, valid) && same_size(frame, out) && same_size(frame, out_valid),
                "all planes must have one shape");
        nb::gil_scoped_release release;
        cement::warp(frame.data(), valid.data(), frame.shape(0), frame.shape(1), {du, dv, turn}, out.data(),
                     out_valid.data());
      },
      "frame"_a.noconvert(), "valid"_a.noconvert(), "du"_a, "dv"_a, "turn"_a, "out"_a.noconvert(),
      "out_valid"_a.noconvert(),
      nb::sig("def cement_warp(frame: " F32_ARRAY ", valid: " U8_ARRAY
              ", du: float, dv: float, turn: float, out: " F32_ARRAY ", out_valid: " U8_ARRAY ") -> None"));
  m.def(
      "cement_contours",
      [](const Plane& field) {
        cement::Contours contours;
        {
          nb::gil_scoped_release release;
          contours.reserve(field.shape(0), field.shape(1));
          contours.find(field.data(), field.shape(0), field.shape(1),
                        {0, 0, static_cast<int>(field.shape(1)) - 1, static_cast<int>(field.shape(0)) - 1});
        }
        return nb::make_tuple(contours_of(contours), contours.area());
      },
      "field"_a.noconvert(),
      nb::sig("def cement_contours(field: " F32_ARRAY ") -> tuple[tuple[" F64_ARRAY ", ...], float]"));
  nb::class_<cement::Alignment>(m, "CementAlignment")
      .def(
          "__init__",
          [](cement::Alignment* self, const Plane& reference, const Marks& valid, const Plane& variance) {
            require(same_size(reference, valid) && same_size(reference, variance), "all planes must have one shape");
            require(reference.shape(0) % 2 == 0 && reference.shape(1) % 2 == 0 && reference.shape(0) >= 32 &&
                        reference.shape(1) >= 32,
                    "rows and columns must be even, 32 at least");
            new (self) cement::Alignment(reference.data(), valid.data(), variance.data(), reference.shape(0),
                                         reference.shape(1));
          },
          "reference"_a.noconvert(), "valid"_a.noconvert(), "variance"_a.noconvert(),
          nb::sig("def __init__(self, reference: " F32_ARRAY ", valid: " U8_ARRAY ", variance: " F32_ARRAY ") -> None"))
      .def(
          "fit",
          [](cement::Alignment& self, const Plane& frame, const Marks& valid, double du, double dv, double turn) {
            require(same_size(frame, valid), "frame and valid must have one shape");
            cement::Fit fit;
            fit.motion = {du, dv, turn};
            {
              nb::gil_scoped_release release;
              fit = self.fit(frame.data(), valid.data(), nullptr, fit, 0.02);
            }
            return std::tuple{fit.motion.du, fit.motion.dv, fit.motion.turn, fit.offset, fit.slope, fit.share};
          },
          "frame"_a.noconvert(), "valid"_a.noconvert(), "du"_a = 0.0, "dv"_a = 0.0, "turn"_a = 0.0,
          nb::sig("def fit(self, frame: " F32_ARRAY ", valid: " U8_ARRAY
                  ", du: float = 0.0, dv: float = 0.0, turn: float = 0.0) -> tuple[float, float, float, float, float, "
                  "float]"));
  nb::class_<cement::Tracker>(m, "CementTracker")
      .def(
          "__init__",
          [](cement::Tracker* self, std::size_t step, double reference_frames, double jitter, const Plane& reference,
             const Marks& valid, const Plane& variance, const Plane& share) {
            require(same_size(reference, valid) && same_size(reference, variance) && same_size(reference, share),
                    "all planes must have one shape");
            require(reference.shape(0) % 2 == 0 && reference.shape(1) % 2 == 0 && reference.shape(0) >= 32 &&
                        reference.shape(1) >= 32,
                    "rows and columns must be even, 32 at least");
            require(step >= 1 && reference_frames > 0.0 && jitter >= 0.0, "step, reference_frames must be positive");
            new (self) cement::Tracker({reference.shape(0), reference.shape(1), step, reference_frames, jitter},
                                       reference.data(), valid.data(), variance.data(), share.data());
          },
          "step"_a, "reference_frames"_a, "jitter"_a, "reference"_a.noconvert(), "valid"_a.noconvert(),
          "variance"_a.noconvert(), "share"_a.noconvert(),
          nb::sig("def __init__(self, step: int, reference_frames: float, jitter: float, reference: " F32_ARRAY
                  ", valid: " U8_ARRAY ", variance: " F32_ARRAY ", share: " F32_ARRAY ") -> None"))
      .def("resume", &cement::Tracker::resume)
      .def(
          "already",
          [](cement::Tracker& self, const Marks& marks) {
            require(marks.shape(0) == self.rows() && marks.shape(1) == self.columns(),
                    "marks must have the grid's size");
            self.already(marks.data());
          },
          "marks"_a.noconvert(), nb::sig("def already(self, marks: " U8_ARRAY ") -> None"))
      .def(
          "steel",
          [](cement::Tracker& self, const Capsules& capsules, double held_mm) {
            require(finite(capsules), "capsules must be finite");
            require(std::isfinite(held_mm) && held_mm >= 0.0, "held_mm must be 0 or more");
            return self.steel({capsules.data(), capsules.shape(0)}, static_cast<float>(held_mm));
          },
          "capsules"_a.noconvert(), "held_mm"_a = 0.0,
          nb::sig("def steel(self, capsules: " F64_ARRAY ", held_mm: float = 0.0) -> bool"))
      .def(
          "follow",
          [](cement::Tracker& self, const Pixels& pixels, const In<double, nb::shape<7>>& scale,
             const In<std::int32_t, nb::shape<4>>& field, const In<double, nb::shape<6>>& look,
             const In<float, nb::ndim<1>>& thickness, const Capsules& instruments, const Capsules& cannulas,
             const std::optional<Marks>& expected, const OutMarks& mask, const OutMarks& blind, const OutMarks& grown,
             const OutPlane& thickness_map, const OutPlane& arrival, const OutPlane& speed,
             const Out<std::int32_t, nb::shape<4>>& box) {
            const guidance::Picture picture = picture_of(pixels);
            require_grid(pixels, self.step(), self.rows(), self.columns());
            require(same_size(pixels, mask) && same_size(pixels, blind) && same_size(pixels, grown) &&
                        same_size(pixels, thickness_map) && same_size(pixels, arrival) && same_size(pixels, speed),
                    "maps must have the picture's size");
            require(!expected || same_size(pixels, *expected), "expected must have the picture's size");
            require(finite(instruments) && finite(cannulas), "capsules must be finite");
            require(thickness.size() == 0 || (thickness.size() >= 2 && look(2) > 0.0),
                    "a table of thicknesses has two entries at least and a positive step");
            require(
                box(0) > box(2) || (box(0) >= 0 && box(1) >= 0 && box(2) < static_cast<std::int32_t>(mask.shape(1)) &&
                                    box(3) < static_cast<std::int32_t>(mask.shape(0))),
                "box must lie within the picture");
            const cement::Scale told = scale_of(scale, field, self.step(), self.rows(), self.columns());
            const cement::Look with{look(0),
                                    look(1),
                                    look(2),
                                    thickness.size() > 0 ? thickness.data() : nullptr,
                                    thickness.size(),
                                    look(3),
                                    look(4),
                                    static_cast<int>(look(5)),
                                    {instruments.data(), instruments.shape(0)},
                                    {cannulas.data(), cannulas.shape(0)},
                                    expected ? expected->data() : nullptr,
                                    pixels.shape(1)};
            const cement::Maps maps{mask.data(),          blind.data(),   grown.data(),
                                    thickness_map.data(), arrival.data(), speed.data(),
                                    mask.shape(0),        mask.shape(1),  box.data()};
            cement::Answer answer;
            {
              nb::gil_scoped_release release;
              answer = self.follow(picture, told, with, maps);
            }
            const bool seen = answer.told == cement::Told::kSeen;
            return nb::make_tuple(static_cast<int>(answer.told), answer.fit.motion.du, answer.fit.motion.dv,
                                  answer.fit.motion.turn, answer.fit.offset, answer.fit.slope, answer.fit.share,
                                  answer.noise, answer.area_px, answer.thickness_sum, answer.noise_sigma, answer.speed,
                                  answer.pixels, answer.out_of_picture,
                                  seen ? contours_of(self.contours()) : nb::tuple());
          },
          "pixels"_a.noconvert(), "scale"_a.noconvert(), "field"_a.noconvert(), "look"_a.noconvert(),
          "thickness"_a.noconvert(), "instruments"_a.noconvert(), "cannulas"_a.noconvert(),
          "expected"_a.noconvert().none(), "mask"_a.noconvert(), "blind"_a.noconvert(), "grown"_a.noconvert(),
          "thickness_map"_a.noconvert(), "arrival"_a.noconvert(), "speed"_a.noconvert(), "box"_a.noconvert(),
          nb::sig("def follow(self, pixels: " PIXELS ", scale: " F64_ARRAY ", field: " I32_ARRAY ", look: " F64_ARRAY
                  ", thickness: " F32_ARRAY ", instruments: " F64_ARRAY ", cannulas: " F64_ARRAY ", expected: " U8_ARRAY
                  " | None, mask: " U8_ARRAY ", blind: " U8_ARRAY ", grown: " U8_ARRAY ", thickness_map: " F32_ARRAY
                  ", arrival: " F32_ARRAY ", speed: " F32_ARRAY ", box: " I32_ARRAY
                  ") -> tuple[int, float, float, float, float, float, float, float, float, float, float, float, int, "
                  "bool, tuple[" F64_ARRAY ", ...]]"));
}
