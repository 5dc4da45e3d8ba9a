// The door of the fit of cement in 3D.
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "bindings.hpp"
#include "cement_body.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define U8_ARRAY "numpy.typing.NDArray[numpy.uint8]"
#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;
using View = std::tuple<In<double, nb::shape<3, 4>>, In<float, nb::ndim<2>>, In<std::uint8_t, nb::ndim<2>>,
                        In<float, nb::ndim<2>>, float, bool>;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

template <class A, class B>
bool same_shape(const A& a, const B& b) {
  for (std::size_t n = 0; n < a.ndim(); ++n) {
    if (a.shape(n) != b.shape(n)) return false;
  }
  return a.ndim() == b.ndim();
}

guidance::BodyView view_of(const View& told) {
  const auto& [matrix, thickness, valid, reach, beyond, lower] = told;
  require(same_shape(thickness, valid) && same_shape(thickness, reach), "a view's arrays must have one shape");
  require(thickness.shape(0) > 0 && thickness.shape(1) > 0 && thickness.size() < (1U << 26U), "a view must have bins");
  guidance::BodyView view{
      {}, thickness.data(), valid.data(), reach.data(), thickness.shape(0), thickness.shape(1), beyond, lower};
  std::memcpy(view.bin_from_patient.data(), matrix.data(), sizeof view.bin_from_patient);
  const auto& m = view.bin_from_patient;
  for (const double number : m) require(std::isfinite(number), "the matrix must be finite");
  const double determinant =
      m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) + m[2] * (m[4] * m[9] - m[5] * m[8]);
  require(std::abs(determinant) > 1e-9, "the matrix must have a source");
  return view;
}

}  // namespace

void bind_cement_body(nb::module_& m) {
  nb::class_<guidance::CementBody>(m, "CementBody")
      .def(nb::init<>())
      .def(
          "fit",
          [](guidance::CementBody& self, const In<float, nb::ndim<3>>& prior,
             const In<std::uint8_t, nb::ndim<3>>& counted, const In<double, nb::shape<3>>& first_lps_mm,
             double spacing_mm, const std::vector<View>& views, int rounds, int sharpenings,
             const Out<float, nb::ndim<3>>& share, const Out<std::uint8_t, nb::ndim<3>>& possible,
             const Out<double, nb::ndim<1>>& volumes_mm3) {
            require(same_shape(prior, counted) && same_shape(prior, share) && same_shape(prior, possible),
                    "prior, counted, share and possible must have one shape");
            require(prior.size() > 0 && prior.size() < (1U << 28U), "1 to 2^28 voxels");
            require(volumes_mm3.shape(0) == views.size(), "one volume for each view");
            require(std::isfinite(spacing_mm) && spacing_mm > 0.0, "spacing_mm must be finite, > 0");
            require(rounds >= 0 && rounds <= 100 && sharpenings >= 0 && sharpenings <= 100, "0 to 100 rounds");
            const guidance::BodyRequest request{
                prior.data(),
                counted.data(),
                {prior.shape(0), prior.shape(1), prior.shape(2)},
                {first_lps_mm.data()[0], first_lps_mm.data()[1], first_lps_mm.data()[2]},
                spacing_mm,
                rounds,
                sharpenings};
            for (const double number : request.first_mm) require(std::isfinite(number), "first_lps_mm must be finite");
            std::vector<guidance::BodyView> placed;
            for (const View& view : views) placed.push_back(view_of(view));
            float* const to_share = share.data();
            std::uint8_t* const to_possible = possible.data();
            double* const to_volumes = volumes_mm3.data();
            nb::gil_scoped_release release;
            self.fit(request, placed, to_share, to_possible, to_volumes);
          },
          "prior"_a.noconvert(), "counted"_a.noconvert(), "first_lps_mm"_a.noconvert(), "spacing_mm"_a, "views"_a,
          "rounds"_a, "sharpenings"_a, "share"_a.noconvert(), "possible"_a.noconvert(), "volumes_mm3"_a.noconvert(),
          nb::sig("def fit(self, prior: " F32_ARRAY ", counted: " U8_ARRAY ", first_lps_mm: " F64_ARRAY
                  ", spacing_mm: float, views: list[tuple[" F64_ARRAY ", " F32_ARRAY ", " U8_ARRAY ", " F32_ARRAY
                  ", float, bool]], rounds: int, sharpenings: int, share: " F32_ARRAY ", possible: " U8_ARRAY
                  ", volumes_mm3: " F64_ARRAY ") -> None"));
}
