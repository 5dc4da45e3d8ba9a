// The thin door: shapes, types and memory order are checked here, raw pointers go inside, the GIL is released.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "kernels.hpp"

namespace nb = nanobind;
using namespace nb::literals;

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

NB_MODULE(_core, m) {
  m.doc() = "Native kernels of the guidance server; the documented face is guidance.kernels.";
  m.def("instruction_set", &guidance::instruction_set);
  m.def(
      "crc64",
      [](const Bytes& bytes, std::uint64_t crc) {
        nb::gil_scoped_release release;
        return guidance::crc64(bytes.data(), bytes.size(), crc);
      },
      "data"_a.noconvert(), "crc"_a = 0);
}
