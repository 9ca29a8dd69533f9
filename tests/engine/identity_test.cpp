#include "engine/residency/identity.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"

namespace wan {

namespace fs = std::filesystem;

TEST(Identity, OfAPlainFileIsItsDigest) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "google");
  std::ofstream(folder / "google" / "spiece.model") << "abc";
  const FileIdentity identity = identify(folder.path(), "google/spiece.model");
  EXPECT_EQ(identity.name, "google/spiece.model");
  EXPECT_EQ(identity.size, 3u);
  // FIPS 180-4's own example
  EXPECT_EQ(identity.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_THROW(identify(folder.path(), "absent"), ModelError);
}

TEST(Identity, OfACheckpointFollowsItsHeaderAndSize) {
  const TemporaryFolder folder;
  const auto digest = [&](const std::map<std::string, at::Tensor>& tensors) {
    write_safetensors(folder / "x.safetensors", tensors);
    return identify(folder.path(), "x.safetensors").sha256;
  };
  const std::string ones = digest({{"a", at::ones({4})}});
  EXPECT_EQ(ones, digest({{"a", at::zeros({4})}})) << "data are not read";
  EXPECT_NE(ones, digest({{"b", at::ones({4})}}));
  EXPECT_NE(ones, digest({{"a", at::ones({2, 2})}}));
}

TEST(Identity, OfAnArchiveSeesItsChecksums) {
  const fs::path nano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";
  const std::string before = identify(nano, "Wan2.1_VAE.pth").sha256;
  EXPECT_EQ(before.size(), 64u);
  const TemporaryFolder folder;
  fs::copy(nano / "Wan2.1_VAE.pth", folder / "Wan2.1_VAE.pth");
  EXPECT_EQ(identify(folder.path(), "Wan2.1_VAE.pth").sha256, before);
  // The table holds a CRC of every storage, so that other weights of the same shapes have another identity.
  const auto file = MappedFile::open(folder / "Wan2.1_VAE.pth");
  const auto crc = header_of(file).at(0).data() + 16 - file->bytes().data();
  std::fstream(folder / "Wan2.1_VAE.pth", std::ios::in | std::ios::out | std::ios::binary).seekp(crc) << "CRC!";
  EXPECT_NE(identify(folder.path(), "Wan2.1_VAE.pth").sha256, before);
}

}  // namespace wan
