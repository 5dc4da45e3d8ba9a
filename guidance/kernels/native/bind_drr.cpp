// The door of the cone projection.
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <cmath>
#include <cstring>

#include "bindings.hpp"
#include "drr.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"
#define I16_ARRAY "numpy.typing.NDArray[numpy.int16]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

template <class T>
void bind_volume(nb::module_& m, const char* name, const char* init, const char* project) {
  using Volume = guidance::ConeVolume<T>;
  nb::class_<Volume>(m, name)
      .def(
          "__init__",
          [](Volume* self, const In<T, nb::ndim<3>>& voxels, T nothing) {
            require(voxels.shape(0) > 0 && voxels.shape(1) > 0 && voxels.shape(2) > 0, "voxels must not be empty");
            new (self) Volume(voxels.data(), {voxels.shape(0), voxels.shape(1), voxels.shape(2)}, nothing);
          },
          "voxels"_a.noconvert(), "nothing"_a, nb::sig(init))
      .def(
          "project",
          [](const Volume& self, const In<double, nb::shape<3, 4>>& pixel_from_ijk,
             const In<double, nb::shape<3, 3>>& mm_from_ijk, const In<float, nb::ndim<1>>& knots,
             const In<float, nb::ndim<2>>& coefficients, double origin_u, double origin_v, double step_px,
             unsigned threads, bool portable, const Out<float, nb::ndim<3>>& out) {
            typename Volume::Request request{};
            std::memcpy(request.pixel_from_ijk.data(), pixel_from_ijk.data(), sizeof request.pixel_from_ijk);
            std::memcpy(request.mm_from_ijk.data(), mm_from_ijk.data(), sizeof request.mm_from_ijk);
            for (const double number : request.pixel_from_ijk)
              require(std::isfinite(number), "pixel_from_patient must be finite");
            require(knots.shape(0) >= 1 && knots.shape(0) <= guidance::kDrrMaxKnots, "1 to 8 knots");
            require(coefficients.shape(0) == out.shape(0) && coefficients.shape(1) == knots.shape(0),
                    "coefficients must be (channels, knots)");
            require(std::isfinite(origin_u) && std::isfinite(origin_v) && std::isfinite(step_px) && step_px > 0.0,
                    "origin must be finite, step_px > 0");
            require(threads >= 1 && threads <= 64, "threads must be 1 to 64");
            request.knots = knots.data();
            request.knot_count = knots.shape(0);
            request.coefficients = coefficients.data();
            request.channels = coefficients.shape(0);
            request.rows = out.shape(1);
            request.columns = out.shape(2);
            request.origin_u = origin_u;
            request.origin_v = origin_v;
            request.step_px = step_px;
            request.threads = threads;
            request.portable = portable;
            request.out = out.data();
            nb::gil_scoped_release release;
            self.project(request);
          },
          "pixel_from_ijk"_a.noconvert(), "mm_from_ijk"_a.noconvert(), "knots"_a.noconvert(),
          "coefficients"_a.noconvert(), "origin_u"_a, "origin_v"_a, "step_px"_a, "threads"_a, "portable"_a,
          "out"_a.noconvert(), nb::sig(project));
}

}  // namespace

void bind_drr(nb::module_& m) {
#define PROJECT                                                                                    \
  "def project(self, pixel_from_ijk: " F64_ARRAY ", mm_from_ijk: " F64_ARRAY ", knots: " F32_ARRAY \
  ", coefficients: " F32_ARRAY                                                                     \
  ", origin_u: float, origin_v: float, step_px: float, threads: int, portable: bool, "             \
  "out: " F32_ARRAY ") -> None"
  bind_volume<std::int16_t>(m, "ConeVolumeInt16", "def __init__(self, voxels: " I16_ARRAY ", nothing: int) -> None",
                            PROJECT);
  bind_volume<float>(m, "ConeVolumeFloat32", "def __init__(self, voxels: " F32_ARRAY ", nothing: float) -> None",
                     PROJECT);
}
