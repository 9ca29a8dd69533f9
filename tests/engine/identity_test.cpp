#include "engine/residency/identity.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"
#include "models/weights/format/safetensors.h"
#include "tests/parts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";

FileIdentity identify_one(const fs::path& root, const fs::path& name) {
  IdentityCache cache;
  return identify({{root / name, name.string(), "", ""}}, cache).at(0);
}

void overwrite(const fs::path& path, uint64_t at, std::string_view bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(std::streamoff(at)) << bytes;
  ASSERT_TRUE(file.flush());
}

/// Bytes of a file that are in memory.
uint64_t resident(const fs::path& path) {
  const int file = open(path.c_str(), O_RDONLY);
  const auto size = size_t(fs::file_size(path));
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  std::vector<unsigned char> pages((size + 4095) / 4096);
  EXPECT_EQ(mincore(address, size, pages.data()), 0);
  munmap(address, size);
  uint64_t count = 0;
  for (unsigned char page : pages) count += page & 1;
  return count * 4096;
}

}  // namespace

TEST(Identity, OfAPlainFileIsItsDigest) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "google");
  std::ofstream(folder / "google" / "spiece.model") << "abc";
  const FileIdentity identity = identify_one(folder.path(), "google/spiece.model");
  EXPECT_EQ(identity.name, "google/spiece.model");
  EXPECT_EQ(identity.size, 3u);
  // FIPS 180-4's own example
  EXPECT_EQ(identity.digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(header_digest(folder / identity.name), "header:" + identity.digest.substr(7));
  EXPECT_THROW(identify_one(folder.path(), "absent"), ModelError);
}

TEST(Identity, OfACheckpointFollowsItsHeaderAndWeights) {
  const TemporaryFolder folder;
  const auto digest = [&](const std::map<std::string, at::Tensor>& tensors) {
    write_safetensors(folder / "x.safetensors", tensors);
    return identify_one(folder.path(), "x.safetensors").digest;
  };
  const std::string ones = digest({{"a", at::ones({4})}});
  EXPECT_TRUE(ones.starts_with("samples:"));
  EXPECT_EQ(ones, digest({{"a", at::ones({4})}}));
  EXPECT_NE(ones, digest({{"a", at::zeros({4})}}));
  EXPECT_NE(ones, digest({{"b", at::ones({4})}}));
  EXPECT_NE(ones, digest({{"a", at::ones({2, 2})}}));
  EXPECT_NO_THROW(digest({{"empty", at::empty({0, 3})}}));
}

TEST(Identity, SeesTheFirstAndTheMiddlePageOfEveryTensor) {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.safetensors";
  write_safetensors(path, {{"a", at::zeros({25'000})}, {"b", at::zeros({2048})}, {"c", at::zeros({25'000})}});
  const std::string before = identify_one(folder.path(), "x.safetensors").digest;
  const auto changed = [&](const char* tensor, uint64_t byte) {
    const uint64_t at = read_tensors(MappedFile::open(path)).at(tensor).offset + byte;
    overwrite(path, at, "!");
    const std::string after = identify_one(folder.path(), "x.safetensors").digest;
    overwrite(path, at, std::string_view("\0", 1));
    return after != before;
  };
  for (const char* tensor : {"a", "c"}) {
    EXPECT_TRUE(changed(tensor, 0) && changed(tensor, 4095)) << tensor;
    EXPECT_TRUE(changed(tensor, 49'152) && changed(tensor, 53'247)) << tensor;  // 100,000 / 2, down to a page
    EXPECT_FALSE(changed(tensor, 4096) || changed(tensor, 49'151) || changed(tensor, 99'999)) << "documented";
  }
  for (uint64_t byte : {0, 4095, 4096, 8191}) EXPECT_TRUE(changed("b", byte)) << byte;  // whole
  EXPECT_EQ(identify_one(folder.path(), "x.safetensors").digest, before);
}

TEST(Identity, OfAnArchiveSeesItsChecksumsAndWeights) {
  const std::string before = identify_one(kNano, "Wan2.1_VAE.pth").digest;
  EXPECT_EQ(before.size(), 8 + 64u);
  const TemporaryFolder folder;
  const fs::path copy = folder / "Wan2.1_VAE.pth";
  fs::copy(kNano / "Wan2.1_VAE.pth", copy);
  const auto digest = [&] { return identify_one(folder.path(), "Wan2.1_VAE.pth").digest; };
  EXPECT_EQ(digest(), before);
  // The table holds a CRC of every storage.
  const auto file = MappedFile::open(copy);
  overwrite(copy, uint64_t(header_of(file).at(0).data() + 16 - file->bytes().data()), "CRC!");
  EXPECT_NE(digest(), before);
  fs::copy(kNano / "Wan2.1_VAE.pth", copy, fs::copy_options::overwrite_existing);
  overwrite(copy, read_tensors(MappedFile::open(copy)).at("decoder.conv1.weight").offset, "!!!!");
  EXPECT_NE(digest(), before) << "a program that writes weights in place leaves the CRC";
}

TEST(Identity, IsEqualForEveryNumberOfThreadsAndOrder) {
  const ModelParts folder = parts_of(kNano, Task::T2V);
  std::vector<PartFile> names = folder.files();
  std::map<std::string, std::string> digests;
  for (int threads : {1, 3, 16}) {
    IdentityCache cache;
    for (const FileIdentity& file : identify(names, cache, threads)) {
      const auto [known, added] = digests.emplace(file.name, file.digest);
      EXPECT_EQ(known->second, file.digest) << file.name << " with " << threads;
    }
    std::rotate(names.begin(), names.begin() + 3, names.end());
  }
  EXPECT_EQ(digests.size(), names.size());
}

TEST(Identity, TellsTheExpertsOfAModelApart) {
  const ModelParts folder = parts_of(kNano, Task::T2V);
  std::map<std::string, std::string> first;  // digest to name
  for (const FileIdentity& file : identities(folder)) {
    if (!file.name.ends_with(".safetensors")) continue;
    const auto [other, added] = first.emplace(file.digest, file.name);
    EXPECT_TRUE(added) << file.name << " and " << other->second;
  }
  EXPECT_EQ(first.size(), 4u);
}

TEST(Identity, IsKeptWhileTheFileStaysWhatItWas) {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.safetensors";
  write_safetensors(path, {{"a", at::zeros({100})}});
  IdentityCache cache;
  uint64_t read = 0;
  const std::vector<PartFile> named = {{path, "x.safetensors", "", ""}};
  const auto reads = [&] {  // whether the file was read
    identify(named, cache);
    return std::exchange(read, cache.bytes_read()) != cache.bytes_read();
  };
  EXPECT_TRUE(reads());
  EXPECT_TRUE(reads()) << "a file that has just been written may change again within one tick of the clock";
  const auto past = fs::file_time_type::clock::now() - std::chrono::hours(1);
  fs::last_write_time(path, past);
  EXPECT_TRUE(reads());
  EXPECT_FALSE(reads());

  const std::string before = identify(named, cache)[0].digest;
  overwrite(path, fs::file_size(path) - 1, "!");
  fs::last_write_time(path, past);
  EXPECT_NE(identify(named, cache)[0].digest, before) << "its time was set back";

  fs::copy(path, folder / "copy");
  fs::last_write_time(folder / "copy", past);
  read = cache.bytes_read();
  fs::rename(folder / "copy", path);
  EXPECT_TRUE(reads()) << "another file took its name";
}

TEST(Identity, OfFullSizeReadsSamplesOnly) {
  const TemporaryFolder folder;
  write_sparse_t2v_folder(folder.path());
  fs::create_directories(folder / "google" / "umt5-xxl");
  std::ofstream(folder / "google" / "umt5-xxl" / "spiece.model") << "pieces";
  const ModelParts model = parts_of(folder.path(), Task::T2V);
  IdentityCache cache;
  const auto start = std::chrono::steady_clock::now();
  const std::vector<FileIdentity> files = identities(model, cache);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  uint64_t size = 0, in_memory = 0;
  for (const FileIdentity& file : files) {
    size += file.size;
    in_memory += resident(folder / file.name);
  }
  std::cout << size << " bytes in " << files.size() << " files: " << cache.bytes_read() << " read, " << in_memory
            << " in memory, " << seconds << " s\n";
  EXPECT_GT(size, 120'000'000'000u);
  EXPECT_LT(cache.bytes_read(), 25'000'000u);
  EXPECT_LT(in_memory, 60'000'000u) << "nothing is read ahead";
}

}  // namespace wan
