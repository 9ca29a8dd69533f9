// Bytes that came from a client and were not used yet.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace wan::serve {

/// One block of memory, [used | unread | room]. Pointers hold until the next call that moves or replaces the block.
class InputBuffer {
 public:
  static constexpr size_t kSmall = 4096;  // what a connection keeps between two requests

  std::string_view unread() const { return {block_.get() + begin_, end_ - begin_}; }
  char* front() { return block_.get(); }
  char* room() { return block_.get() + end_; }
  size_t room_size() const { return capacity_ - end_; }
  size_t capacity() const { return capacity_; }

  void add(size_t bytes) { end_ += bytes; }
  void use(size_t bytes) { begin_ += bytes; }
  /// Unread bytes move to the front of the block.
  void to_front() {
    if (begin_ == 0) return;
    if (end_ > begin_) std::memmove(block_.get(), block_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  /// A block of at least this size.
  void reserve(size_t capacity) {
    if (capacity > capacity_) replace(capacity);
  }
  /// A small block again, where what is unread fits into it.
  void shrink() {
    if (capacity_ > kSmall && end_ - begin_ <= kSmall) replace(kSmall);
  }

 private:
  void replace(size_t capacity) {
    std::unique_ptr<char[]> block(new char[capacity]);
    const size_t size = end_ - begin_;
    if (size > 0) std::memcpy(block.get(), block_.get() + begin_, size);
    block_ = std::move(block);
    capacity_ = capacity;
    begin_ = 0;
    end_ = size;
  }

  std::unique_ptr<char[]> block_;
  size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace wan::serve
