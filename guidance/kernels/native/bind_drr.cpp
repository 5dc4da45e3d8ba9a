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

using Matrix34 = In<double, nb::shape<3, 4>>;
using Matrix44 = In<double, nb::shape<4, 4>>;

#define PROJECT                                                                                                \
  "def project(self, pixel_from_patient: " F64_ARRAY ", affine_lps_from_ijk: " F64_ARRAY ", knots: " F32_ARRAY \
  ", coefficients: " F32_ARRAY                                                                                 \
  ", origin_u: float, origin_v: float, step_px: float, threads: int, method: int, isa: int, "                  \
  "out: " F32_ARRAY ") -> None"
#define CHOOSE                                                                                                \
  "def choose(self, pixel_from_patient: " F64_ARRAY ", affine_lps_from_ijk: " F64_ARRAY ", knots: " F32_ARRAY \
  ", coefficients: " F32_ARRAY                                                                                \
  ", origin_u: float, origin_v: float, step_px: float, method: int, rows: int, columns: int"                  \
  ") -> tuple[bool, str]"

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

guidance::ConeRequest request_of(const Matrix34& matrix, const Matrix44& affine, const In<float, nb::ndim<1>>& knots,
                                 const In<float, nb::ndim<2>>& coefficients, double origin_u, double origin_v,
                                 double step_px, int method, int isa, std::size_t rows, std::size_t columns) {
  guidance::ConeRequest request{};
  const double* const p = matrix.data();
  const double* const a = affine.data();
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 4; ++column) {
      double sum = column == 3 ? p[4 * row + 3] : 0.0;
      for (int n = 0; n < 3; ++n) sum += p[4 * row + n] * a[4 * n + column];
      require(std::isfinite(sum), "pixel_from_patient must be finite");
      request.pixel_from_ijk[4 * row + column] = sum;
      if (column < 3) request.mm_from_ijk[3 * row + column] = a[4 * row + column];
    }
  require(knots.shape(0) >= 1 && knots.shape(0) <= guidance::kDrrMaxKnots, "1 to 8 knots");
  require(coefficients.shape(1) == knots.shape(0), "coefficients must be (channels, knots)");
  require(std::isfinite(origin_u) && std::isfinite(origin_v) && std::isfinite(step_px) && step_px > 0.0,
          "origin must be finite, step_px > 0");
  require(method >= 0 && method <= 2 && isa >= 0 && isa <= 2, "method and isa must be 0 to 2");
  request.knots = knots.data();
  request.knot_count = knots.shape(0);
  request.coefficients = coefficients.data();
  request.channels = coefficients.shape(0);
  request.rows = rows;
  request.columns = columns;
  request.origin_u = origin_u;
  request.origin_v = origin_v;
  request.step_px = step_px;
  request.threads = 1;
  request.method = static_cast<guidance::DrrMethod>(method);
  request.isa = static_cast<guidance::DrrIsa>(isa);
  return request;
}

template <class T>
void bind_volume(nb::module_& m, const char* name, const char* init) {
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
          [](const Volume& self, const Matrix34& matrix, const Matrix44& affine, const In<float, nb::ndim<1>>& knots,
             const In<float, nb::ndim<2>>& coefficients, double origin_u, double origin_v, double step_px,
             unsigned threads, int method, int isa, const Out<float, nb::ndim<3>>& out) {
            guidance::ConeRequest request = request_of(matrix, affine, knots, coefficients, origin_u, origin_v, step_px,
                                                       method, isa, out.shape(1), out.shape(2));
            require(coefficients.shape(0) == out.shape(0), "out must have a channel per row of coefficients");
            require(threads >= 1 && threads <= 64, "threads must be 1 to 64");
            request.threads = threads;
            request.out = out.data();
            nb::gil_scoped_release release;
            self.project(request);
          },
          "pixel_from_patient"_a.noconvert(), "affine_lps_from_ijk"_a.noconvert(), "knots"_a.noconvert(),
          "coefficients"_a.noconvert(), "origin_u"_a, "origin_v"_a, "step_px"_a, "threads"_a, "method"_a, "isa"_a,
          "out"_a.noconvert(), nb::sig(PROJECT))
      .def(
          "choose",
          [](const Volume& self, const Matrix34& matrix, const Matrix44& affine, const In<float, nb::ndim<1>>& knots,
             const In<float, nb::ndim<2>>& coefficients, double origin_u, double origin_v, double step_px, int method,
             std::size_t rows, std::size_t columns) {
            const guidance::DrrChoice choice = self.choose(
                request_of(matrix, affine, knots, coefficients, origin_u, origin_v, step_px, method, 0, rows, columns));
            return nb::make_tuple(choice.shear_warp, choice.reason);
          },
          "pixel_from_patient"_a.noconvert(), "affine_lps_from_ijk"_a.noconvert(), "knots"_a.noconvert(),
          "coefficients"_a.noconvert(), "origin_u"_a, "origin_v"_a, "step_px"_a, "method"_a, "rows"_a, "columns"_a,
          nb::sig(CHOOSE));
}

template <class T>
void bind_box_average(nb::module_& m, const char* signature) {
  m.def(
      "box_average",
      [](const In<T, nb::ndim<3>>& voxels, std::size_t factor_k, std::size_t factor_j, std::size_t factor_i, T nothing,
         const Out<T, nb::ndim<3>>& out) {
        const std::array<std::size_t, 3> factors{factor_k, factor_j, factor_i};
        std::array<std::size_t, 3> shape{};
        for (std::size_t axis = 0; axis < 3; ++axis) {
          require(factors[axis] >= 1 && factors[axis] <= 256, "factors must be 1 to 256");
          shape[axis] = voxels.shape(axis);
          require(out.shape(axis) == (shape[axis] + factors[axis] - 1) / factors[axis], "out must hold one per box");
        }
        nb::gil_scoped_release release;
        guidance::box_average<T>(voxels.data(), shape, factors, nothing, out.data());
      },
      "voxels"_a.noconvert(), "factor_k"_a, "factor_j"_a, "factor_i"_a, "nothing"_a, "out"_a.noconvert(),
      nb::sig(signature));
}

}  // namespace

void bind_drr(nb::module_& m) {
  bind_volume<std::int16_t>(m, "ConeVolumeInt16", "def __init__(self, voxels: " I16_ARRAY ", nothing: int) -> None");
  bind_volume<float>(m, "ConeVolumeFloat32", "def __init__(self, voxels: " F32_ARRAY ", nothing: float) -> None");
#define BOX_AVERAGE(ARRAY, NUMBER)                                                                                   \
  "def box_average(voxels: " ARRAY ", factor_k: int, factor_j: int, factor_i: int, nothing: " NUMBER ", out: " ARRAY \
  ") -> None"
  bind_box_average<std::int16_t>(m, BOX_AVERAGE(I16_ARRAY, "int"));
  bind_box_average<float>(m, BOX_AVERAGE(F32_ARRAY, "float"));
}
