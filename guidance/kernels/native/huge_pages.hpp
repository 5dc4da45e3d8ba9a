// An allocator for volumes: on Linux it asks for large pages, as 4 KiB pages cost a look-up per row of voxels.
#pragma once

#include <cstddef>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace guidance {

template <class T>
struct HugePages {
  using value_type = T;
  static constexpr std::size_t kPage = std::size_t{1} << 21;
  static constexpr std::size_t kLine = 64;

  HugePages() = default;
  template <class U>
  HugePages(const HugePages<U>&) {}

  T* allocate(std::size_t count) {
    if (!large(count)) return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{kLine}));
    const std::size_t size = (count * sizeof(T) + kPage - 1) / kPage * kPage;
    void* const memory = ::operator new(size, std::align_val_t{kPage});
#ifdef __linux__
    madvise(memory, size, MADV_HUGEPAGE);  // advice only: without it all works, slower
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    ::operator delete(memory, std::align_val_t{large(count) ? kPage : kLine});
  }
  bool operator==(const HugePages&) const { return true; }

 private:
  static bool large(std::size_t count) { return count >= 2 * kPage / sizeof(T); }
};

}  // namespace guidance
