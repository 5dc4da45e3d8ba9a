// A volume at a coarser resolution: the mean of each box of voxels, air where the box reaches beyond the volume.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "drr.hpp"

namespace guidance {

template <class T>
void box_average(const T* voxels, std::array<std::size_t, 3> shape_kji, std::array<std::size_t, 3> factors_kji,
                 T nothing, T* out) {
  using Sum = std::conditional_t<std::is_same_v<T, float>, double, std::int64_t>;
  const auto [nk, nj, ni] = shape_kji;
  const auto [fk, fj, fi] = factors_kji;
  const std::size_t boxes = (ni + fi - 1) / fi;
  std::vector<Sum> column(ni);
  const double share = 1.0 / static_cast<double>(fk * fj * fi);
  for (std::size_t k = 0; k < nk; k += fk)
    for (std::size_t j = 0; j < nj; j += fj, out += boxes) {
      const std::size_t end_k = std::min(nk, k + fk);
      const std::size_t end_j = std::min(nj, j + fj);
      std::fill(column.begin(), column.end(), Sum{});
      for (std::size_t kk = k; kk < end_k; ++kk)
        for (std::size_t jj = j; jj < end_j; ++jj) {
          const T* const row = voxels + (kk * nj + jj) * ni;
          for (std::size_t i = 0; i < ni; ++i) column[i] += row[i];
        }
      const std::size_t rows = (end_k - k) * (end_j - j);
      for (std::size_t box = 0; box < boxes; ++box) {
        const std::size_t end_i = std::min(ni, (box + 1) * fi);
        Sum sum{};
        for (std::size_t i = box * fi; i < end_i; ++i) sum += column[i];
        const std::size_t missing = fk * fj * fi - rows * (end_i - box * fi);
        const double mean = (static_cast<double>(sum) + static_cast<double>(missing) * nothing) * share;
        out[box] = static_cast<T>(std::is_same_v<T, float> ? mean : std::nearbyint(mean));
      }
    }
}

template void box_average(const std::int16_t*, std::array<std::size_t, 3>, std::array<std::size_t, 3>, std::int16_t,
                          std::int16_t*);
template void box_average(const float*, std::array<std::size_t, 3>, std::array<std::size_t, 3>, float, float*);

}  // namespace guidance
