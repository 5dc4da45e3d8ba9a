// The door of the frame check.
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <cmath>
#include <cstring>
#include <tuple>

#include "bindings.hpp"
#include "watch.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"
#define I16_ARRAY "numpy.typing.NDArray[numpy.int16]"
#define PIXELS "numpy.typing.NDArray[typing.Any]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;
using Plane = In<float, nb::ndim<2>>;
using OutPlane = Out<float, nb::ndim<2>>;
using Planes = In<float, nb::ndim<3>>;
using OutPlanes = Out<float, nb::ndim<3>>;
using Matrix = In<double, nb::shape<3, 4>>;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

guidance::Picture picture_of(const nb::ndarray<nb::ro, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>& pixels) {
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

template <class A, class B>
bool same_size(const A& a, const B& b) {
  return a.shape(0) == b.shape(0) && a.shape(1) == b.shape(1);
}

std::array<double, 12> matrix_of(const Matrix& matrix) {
  std::array<double, 12> numbers{};
  std::memcpy(numbers.data(), matrix.data(), sizeof numbers);
  for (const double number : numbers) require(std::isfinite(number), "the matrix must be finite");
  return numbers;
}

void require_grid(double origin_u, double origin_v, double step_px, double depth_mm) {
  require(std::isfinite(origin_u) && std::isfinite(origin_v) && std::isfinite(step_px) && step_px > 0.0,
          "origin must be finite, step_px > 0");
  require(std::isfinite(depth_mm) && depth_mm > 0.0, "depth_mm must be finite, > 0");
}

}  // namespace

void bind_watch(nb::module_& m) {
  using Pixels = nb::ndarray<nb::ro, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
  nb::class_<guidance::WatchVolume>(m, "WatchVolume")
      .def(
          "__init__",
          [](guidance::WatchVolume* self, const In<std::int16_t, nb::ndim<3>>& voxels, const Matrix& lps_from_ijk) {
            require(voxels.shape(0) > 0 && voxels.shape(1) > 0 && voxels.shape(2) > 0, "voxels must not be empty");
            require(voxels.size() < (1U << 28U), "the volume has too many voxels (2^28 at most)");
            new (self) guidance::WatchVolume(voxels.data(), {voxels.shape(0), voxels.shape(1), voxels.shape(2)},
                                             matrix_of(lps_from_ijk));
          },
          "voxels"_a.noconvert(), "lps_from_ijk"_a.noconvert(),
          nb::sig("def __init__(self, voxels: " I16_ARRAY ", lps_from_ijk: " F64_ARRAY ") -> None"))
      .def(
          "project",
          [](const guidance::WatchVolume& self, const Matrix& pixel_from_lps, double origin_u, double origin_v,
             double step_px, double depth_mm, const OutPlane& sums, const OutPlane& moments) {
            require(same_size(sums, moments), "sums and moments must have one shape");
            require_grid(origin_u, origin_v, step_px, depth_mm);
            const guidance::WatchVolume::View view{
                matrix_of(pixel_from_lps), sums.shape(0), sums.shape(1), origin_u, origin_v, step_px, depth_mm};
            float* const to_sums = sums.data();
            float* const to_moments = moments.data();
            nb::gil_scoped_release release;
            self.project(view, to_sums, to_moments);
          },
          "pixel_from_lps"_a.noconvert(), "origin_u"_a, "origin_v"_a, "step_px"_a, "depth_mm"_a, "sums"_a.noconvert(),
          "moments"_a.noconvert(),
          nb::sig("def project(self, pixel_from_lps: " F64_ARRAY
                  ", origin_u: float, origin_v: float, step_px: float, depth_mm: float, sums: " F32_ARRAY
                  ", moments: " F32_ARRAY ") -> None"));
  m.def(
      "watch_bins",
      [](const Pixels& pixels, unsigned step, bool logarithm, bool bright, const OutPlane& attenuation,
         const OutPlane& valid) {
        const guidance::Picture picture = picture_of(pixels);
        require(step >= 1 && pixels.shape(0) / step == attenuation.shape(0) &&
                    pixels.shape(1) / step == attenuation.shape(1) && same_size(attenuation, valid),
                "attenuation and valid must be (rows / step, columns / step)");
        float* const to_attenuation = attenuation.data();
        float* const to_valid = valid.data();
        nb::gil_scoped_release release;
        return guidance::watch_bins(picture, {logarithm, bright, step}, to_attenuation, to_valid);
      },
      "pixels"_a.noconvert(), "step"_a, "logarithm"_a, "bright"_a, "attenuation"_a.noconvert(), "valid"_a.noconvert(),
      nb::sig("def watch_bins(pixels: " PIXELS ", step: int, logarithm: bool, bright: bool, attenuation: " F32_ARRAY
              ", valid: " F32_ARRAY ") -> float"));
  m.def(
      "watch_layer",
      [](const Plane& attenuation, const OutPlane& valid, unsigned mean_radius, unsigned contrast_radius, double floor,
         double metal, int metal_rounds, const OutPlane& normalised, const OutPlane& core, const OutPlane& contrast) {
        require(same_size(attenuation, valid) && same_size(attenuation, normalised) && same_size(attenuation, core) &&
                    same_size(attenuation, contrast),
                "all must have one shape");
        require(mean_radius >= 1 && contrast_radius >= 1 && mean_radius < 1024 && contrast_radius < 1024,
                "radii must be 1 to 1023");
        require(metal > 0.0 && metal_rounds >= 0 && metal_rounds < 10, "metal > 0, 0 to 9 rounds");
        const guidance::WatchLayer request{attenuation.shape(0), attenuation.shape(1),      mean_radius,
                                           contrast_radius,      static_cast<float>(floor), static_cast<float>(metal),
                                           metal_rounds};
        const float* const from = attenuation.data();
        float *const mask = valid.data(), *const to = normalised.data();
        float *const to_core = core.data(), *const to_contrast = contrast.data();
        nb::gil_scoped_release release;
        const guidance::WatchShown shown = guidance::watch_layer(request, from, mask, to, to_core, to_contrast);
        return std::make_tuple(shown.whole, shown.usual, shown.noise);
      },
      "attenuation"_a.noconvert(), "valid"_a.noconvert(), "mean_radius"_a, "contrast_radius"_a, "floor"_a, "metal"_a,
      "metal_rounds"_a, "normalised"_a.noconvert(), "core"_a.noconvert(), "contrast"_a.noconvert(),
      nb::sig("def watch_layer(attenuation: " F32_ARRAY ", valid: " F32_ARRAY
              ", mean_radius: int, contrast_radius: int, floor: float, metal: float, metal_rounds: int, "
              "normalised: " F32_ARRAY ", core: " F32_ARRAY ", contrast: " F32_ARRAY
              ") -> tuple[float, float, float]"));
  m.def(
      "watch_template",
      [](const Plane& sums, const Plane& moments, const Matrix& pixel_from_lps,
         const In<double, nb::shape<3>>& pivot_lps_mm, double origin_u, double origin_v, double step_px,
         double depth_mm, unsigned mean_radius, unsigned contrast_radius, double floor, const OutPlanes& planes) {
        require(same_size(sums, moments) && planes.shape(0) == guidance::kWatchPlanes &&
                    planes.shape(1) == sums.shape(0) && planes.shape(2) == sums.shape(1),
                "planes must be (8, rows, columns) of sums");
        require(mean_radius >= 1 && contrast_radius >= 1 && mean_radius < 1024 && contrast_radius < 1024,
                "radii must be 1 to 1023");
        require_grid(origin_u, origin_v, step_px, depth_mm);
        const guidance::WatchTemplate request{matrix_of(pixel_from_lps),
                                              {pivot_lps_mm.data()[0], pivot_lps_mm.data()[1], pivot_lps_mm.data()[2]},
                                              sums.shape(0),
                                              sums.shape(1),
                                              origin_u,
                                              origin_v,
                                              step_px,
                                              depth_mm,
                                              mean_radius,
                                              contrast_radius,
                                              static_cast<float>(floor)};
        const float *const from = sums.data(), *const from_moments = moments.data();
        float* const to = planes.data();
        nb::gil_scoped_release release;
        return guidance::watch_template(request, from, from_moments, to);
      },
      "sums"_a.noconvert(), "moments"_a.noconvert(), "pixel_from_lps"_a.noconvert(), "pivot_lps_mm"_a.noconvert(),
      "origin_u"_a, "origin_v"_a, "step_px"_a, "depth_mm"_a, "mean_radius"_a, "contrast_radius"_a, "floor"_a,
      "planes"_a.noconvert(),
      nb::sig("def watch_template(sums: " F32_ARRAY ", moments: " F32_ARRAY ", pixel_from_lps: " F64_ARRAY
              ", pivot_lps_mm: " F64_ARRAY
              ", origin_u: float, origin_v: float, step_px: float, depth_mm: float, mean_radius: int, "
              "contrast_radius: int, floor: float, planes: " F32_ARRAY ") -> float"));
  m.def(
      "watch_fit",
      [](const Plane& picture, const Plane& valid, const Planes& planes, const In<double, nb::shape<6>>& prior,
         int rounds, double cut, const Out<double, nb::shape<7>>& parameters,
         const Out<double, nb::shape<7, 7>>& normal) {
        require(same_size(picture, valid) && planes.shape(0) == guidance::kWatchPlanes &&
                    planes.shape(1) == picture.shape(0) && planes.shape(2) == picture.shape(1),
                "planes must be (8, rows, columns) of the picture");
        require(rounds >= 1 && rounds <= 20 && cut > 0.0, "1 to 20 rounds, cut > 0");
        std::array<double, guidance::kWatchMotions> stiffness{};
        std::memcpy(stiffness.data(), prior.data(), sizeof stiffness);
        const std::size_t rows = picture.shape(0);
        const std::size_t columns = picture.shape(1);
        const float *const from = picture.data(), *const mask = valid.data(), *const shapes = planes.data();
        guidance::WatchFit fit;
        {
          nb::gil_scoped_release release;
          fit = guidance::watch_fit(from, mask, shapes, rows, columns, stiffness, rounds, static_cast<float>(cut));
        }
        std::memcpy(parameters.data(), fit.parameters.data(), sizeof fit.parameters);
        std::memcpy(normal.data(), fit.normal.data(), sizeof fit.normal);
        return std::make_tuple(fit.variance, fit.weight, fit.plain, fit.similarity, fit.told, fit.robust);
      },
      "picture"_a.noconvert(), "valid"_a.noconvert(), "planes"_a.noconvert(), "prior"_a.noconvert(), "rounds"_a,
      "cut"_a, "parameters"_a.noconvert(), "normal"_a.noconvert(),
      nb::sig("def watch_fit(picture: " F32_ARRAY ", valid: " F32_ARRAY ", planes: " F32_ARRAY ", prior: " F64_ARRAY
              ", rounds: int, cut: float, parameters: " F64_ARRAY ", normal: " F64_ARRAY
              ") -> tuple[float, float, float, float, float, float]"));
  m.def(
      "watch_shift",
      [](const Plane& picture, const Plane& valid, const Plane& weight, const Plane& projection, int reach) {
        require(same_size(picture, valid) && same_size(picture, weight) && same_size(picture, projection),
                "all must have one shape");
        require(reach >= 0 && reach <= 1024, "reach must be 0 to 1024");
        const float *const seen = picture.data(), *const mask = valid.data();
        const float *const share = weight.data(), *const told = projection.data();
        const std::size_t rows = picture.shape(0);
        const std::size_t columns = picture.shape(1);
        nb::gil_scoped_release release;
        const guidance::WatchShift best = guidance::watch_shift(seen, mask, share, told, rows, columns, reach);
        return std::make_tuple(best.du, best.dv, best.similarity);
      },
      "picture"_a.noconvert(), "valid"_a.noconvert(), "weight"_a.noconvert(), "projection"_a.noconvert(), "reach"_a,
      nb::sig("def watch_shift(picture: " F32_ARRAY ", valid: " F32_ARRAY ", weight: " F32_ARRAY
              ", projection: " F32_ARRAY ", reach: int) -> tuple[int, int, float]"));
}
