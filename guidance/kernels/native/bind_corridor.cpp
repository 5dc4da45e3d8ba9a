// The door of the corridor search.
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include <cmath>
#include <optional>

#include "bindings.hpp"
#include "corridor.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
using Values = In<float, nb::ndim<3>>;
using Charts = In<double, nb::shape<-1, guidance::kChartNumbers>>;
using Lines = In<double, nb::shape<-1, guidance::kLineNumbers>>;
using Out = nb::ndarray<nb::numpy, double, nb::c_contig, nb::device::cpu, nb::ndim<2>>;
using Rules = std::array<double, 8>;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

const float* same_grid(const std::optional<Values>& values, const Values& solid) {
  if (!values) return nullptr;
  for (std::size_t n = 0; n < 3; ++n) require(values->shape(n) == solid.shape(n), "all fields must have one shape");
  return values->data();
}

guidance::LineRules rules_of(const Rules& numbers) {
  for (const double number : numbers) require(std::isfinite(number) && number >= 0.0, "rules must be finite, >= 0");
  require(numbers[5] > 0.0, "step_mm must be > 0");
  return {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7] != 0.0};
}

guidance::LineBatch batch_of(const Charts& charts, const Lines& lines, unsigned threads) {
  require(threads >= 1 && threads <= 64, "threads must be 1 to 64");
  for (std::size_t n = 0; n < charts.size(); ++n) require(std::isfinite(charts.data()[n]), "charts must be finite");
  for (std::size_t n = 0; n < lines.shape(0); ++n) {
    const double* row = lines.data() + n * guidance::kLineNumbers;
    for (std::size_t m = 0; m < guidance::kLineNumbers; ++m) require(std::isfinite(row[m]), "lines must be finite");
    require(row[0] >= 0.0 && row[0] < static_cast<double>(charts.shape(0)), "lines must name a chart");
  }
  return {charts.data(), charts.shape(0), lines.data(), lines.shape(0), threads};
}

class Search {
 public:
  Search(const Values& solid, const std::array<double, 3>& origin, double spacing_mm,
         const std::optional<Values>& reach_plus, const std::optional<Values>& reach_minus,
         const std::optional<Values>& gate)
      : solid_(solid), plus_(reach_plus), minus_(reach_minus), gate_(gate) {
    require(solid.shape(0) > 1 && solid.shape(1) > 1 && solid.shape(2) > 1,
            "solid must have 2 samples along each axis");
    require(std::isfinite(spacing_mm) && spacing_mm > 0.0, "spacing_mm must be > 0");
    for (const double number : origin) require(std::isfinite(number), "origin must be finite");
    fields_ = {{solid.shape(0), solid.shape(1), solid.shape(2), origin, spacing_mm},
               solid.data(),
               same_grid(reach_plus, solid),
               same_grid(reach_minus, solid),
               same_grid(gate, solid)};
  }

  void measure(const Rules& numbers, const Charts& charts, const Lines& lines, unsigned threads, const Out& out) const {
    const guidance::LineRules rules = rules_of(numbers);
    const guidance::LineBatch batch = batch_of(charts, lines, threads);
    require(out.shape(0) == batch.count && out.shape(1) == guidance::kTunnelNumbers, "out must be (lines, 4)");
    nb::gil_scoped_release release;
    guidance::measure_lines(fields_, rules, batch, out.data());
  }

  void bound(const Rules& numbers, const Charts& charts, const Lines& lines, double cutoff_mm, unsigned threads,
             const Out& out) const {
    const guidance::LineRules rules = rules_of(numbers);
    const guidance::LineBatch batch = batch_of(charts, lines, threads);
    require(std::isfinite(cutoff_mm), "cutoff_mm must be finite");
    require(out.shape(0) == batch.count && out.shape(1) == 1, "out must be (lines, 1)");
    nb::gil_scoped_release release;
    guidance::bound_lines(fields_, rules, batch, cutoff_mm, out.data());
  }

 private:
  Values solid_;  // kept alive
  std::optional<Values> plus_, minus_, gate_;
  guidance::LineFields fields_{};
};

}  // namespace

void bind_corridor(nb::module_& m) {
  nb::class_<Search>(m, "CorridorLines")
      .def(nb::init<const Values&, const std::array<double, 3>&, double, const std::optional<Values>&,
                    const std::optional<Values>&, const std::optional<Values>&>(),
           "solid"_a.noconvert(), "origin"_a, "spacing_mm"_a, "reach_plus"_a.noconvert().none(),
           "reach_minus"_a.noconvert().none(), "gate"_a.noconvert().none(),
           nb::sig("def __init__(self, solid: " F32_ARRAY
                   ", origin: tuple[float, float, float], spacing_mm: float, reach_plus: " F32_ARRAY
                   " | None, reach_minus: " F32_ARRAY " | None, gate: " F32_ARRAY " | None) -> None"))
      .def("measure", &Search::measure, "rules"_a, "charts"_a.noconvert(), "lines"_a.noconvert(), "threads"_a,
           "out"_a.noconvert(),
           nb::sig("def measure(self, rules: tuple[float, ...], charts: " F64_ARRAY ", lines: " F64_ARRAY
                   ", threads: int, out: " F64_ARRAY ") -> None"))
      .def("bound", &Search::bound, "rules"_a, "charts"_a.noconvert(), "lines"_a.noconvert(), "cutoff_mm"_a,
           "threads"_a, "out"_a.noconvert(),
           nb::sig("def bound(self, rules: tuple[float, ...], charts: " F64_ARRAY ", lines: " F64_ARRAY
                   ", cutoff_mm: float, threads: int, out: " F64_ARRAY ") -> None"));
}
