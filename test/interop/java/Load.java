import alluxio.AlluxioURI;
import alluxio.client.file.FileInStream;
import alluxio.client.file.FileOutStream;
import alluxio.client.file.FileSystem;
import alluxio.grpc.CreateDirectoryPOptions;
import alluxio.grpc.CreateFilePOptions;
import alluxio.grpc.DeletePOptions;
import alluxio.grpc.OpenFilePOptions;
import alluxio.grpc.ReadPType;
import alluxio.grpc.WritePType;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;

/**
 * The load of the benches, the same for every server. Arguments: "metadata threads count" or
 * "io megabytes streams passes", then settings. Prints "name value unit" lines, tab-separated.
 */
final class Load {
  private interface Task {
    void run(int thread, int i) throws Exception;
  }

  private final String[] arguments;
  private final PrintStream output;
  private final FileSystem fileSystem;
  private final String base;

  Load(String[] arguments, PrintStream output) {
    this.arguments = arguments;
    this.output = output;
    int settingsFrom = arguments[0].equals("metadata") ? 3 : 4;
    this.fileSystem = Clients.open(arguments, settingsFrom);
    this.base = "/bench-" + Long.toHexString(System.nanoTime());
  }

  void run() throws Exception {
    fileSystem.createDirectory(new AlluxioURI(base));
    int first = Integer.parseInt(arguments[1]);
    int second = Integer.parseInt(arguments[2]);
    if (arguments[0].equals("metadata")) {
      metadata(first, Math.max(50, second / 10), true);
      metadata(first, second, false);
    } else {
      io(first, second, Integer.parseInt(arguments[3]));
    }
    fileSystem.delete(new AlluxioURI(base), DeletePOptions.newBuilder().setRecursive(true).build());
    fileSystem.close();
  }

  private void metadata(int threads, int count, boolean isWarmUp) throws Exception {
    String root = base + (isWarmUp ? "/warm" : "/hot");
    CreateDirectoryPOptions recursive = CreateDirectoryPOptions.newBuilder().setRecursive(true).build();
    CreateFilePOptions cached =
        CreateFilePOptions.newBuilder().setWriteType(WritePType.MUST_CACHE).setRecursive(true).build();
    for (int thread = 0; thread < threads; thread++) {
      fileSystem.createDirectory(new AlluxioURI(root + "/t" + thread), recursive);
    }
    for (int i = 0; i < 100; i++) {
      fileSystem.createFile(new AlluxioURI(root + "/listed/f" + i), cached).close();
    }
    report("create", isWarmUp, threads, count,
        (t, i) -> fileSystem.createFile(new AlluxioURI(root + "/t" + t + "/f" + i), cached).close());
    report("getStatus", isWarmUp, threads, count,
        (t, i) -> fileSystem.getStatus(new AlluxioURI(root + "/t" + t + "/f" + i)));
    report("list100", isWarmUp, threads, Math.max(20, count / 4),
        (t, i) -> fileSystem.listStatus(new AlluxioURI(root + "/listed")));
    report("mkdir", isWarmUp, threads, count,
        (t, i) -> fileSystem.createDirectory(new AlluxioURI(root + "/t" + t + "/d" + i)));
    report("rename", isWarmUp, threads, count,
        (t, i) -> fileSystem.rename(
            new AlluxioURI(root + "/t" + t + "/f" + i), new AlluxioURI(root + "/t" + t + "/g" + i)));
    report("delete", isWarmUp, threads, count,
        (t, i) -> fileSystem.delete(new AlluxioURI(root + "/t" + t + "/g" + i)));
  }

  private void report(String name, boolean isWarmUp, int threads, int count, Task task) throws Exception {
    double seconds = parallel(threads, count, task);
    if (!isWarmUp) {
      output.println(name + "\t" + Math.round(threads * (double) count / seconds) + "\tops/s");
    }
  }

  private static double parallel(int threads, int count, Task task) throws Exception {
    CountDownLatch done = new CountDownLatch(threads);
    AtomicReference<Exception> failure = new AtomicReference<>();
    long start = System.nanoTime();
    for (int t = 0; t < threads; t++) {
      final int thread = t;
      new Thread(() -> {
        try {
          for (int i = 0; i < count; i++) {
            task.run(thread, i);
          }
        } catch (Exception thrown) {
          failure.set(thrown);
        } finally {
          done.countDown();
        }
      }).start();
    }
    done.await();
    if (failure.get() != null) {
      throw failure.get();
    }
    return (System.nanoTime() - start) / 1e9;
  }

  private void io(int megabytes, int streams, int passes) throws Exception {
    byte[] pattern = new byte[1 << 20];
    new Random(1).nextBytes(pattern);
    List<Double> writes = new ArrayList<>();
    List<Double> reads = new ArrayList<>();
    List<Double> positioned4 = new ArrayList<>();
    List<Double> positioned64 = new ArrayList<>();
    CreateFilePOptions cached =
        CreateFilePOptions.newBuilder().setWriteType(WritePType.MUST_CACHE).setRecursive(true).build();
    for (int pass = 0; pass < passes; pass++) {
      final String prefix = base + "/io" + pass + "-";
      double megabytesAll = streams * megabytes * 1.048576;
      writes.add(megabytesAll / parallel(streams, 1, (t, i) -> {
        try (FileOutStream out = fileSystem.createFile(new AlluxioURI(prefix + t), cached)) {
          for (int k = 0; k < megabytes; k++) {
            out.write(pattern);
          }
        }
      }));
      reads.add(megabytesAll / parallel(streams, 1, (t, i) -> readAll(prefix + t, megabytes, pattern)));
      positioned4.add(positioned(prefix, streams, megabytes, 4096, pattern));
      positioned64.add(positioned(prefix, streams, megabytes, 65536, pattern));
      for (int t = 0; t < streams; t++) {
        fileSystem.delete(new AlluxioURI(prefix + t));
      }
    }
    // The first pass warms the JVM up.
    output.println("write\t" + median(writes) + "\tMB/s");
    output.println("read\t" + median(reads) + "\tMB/s");
    output.println("pread4k\t" + median(positioned4) + "\tops/s");
    output.println("pread64k\t" + median(positioned64) + "\tops/s");
  }

  private void readAll(String path, int megabytes, byte[] pattern) throws Exception {
    byte[] buffer = new byte[1 << 20];
    OpenFilePOptions options = OpenFilePOptions.newBuilder().setReadType(ReadPType.NO_CACHE).build();
    try (FileInStream in = fileSystem.openFile(new AlluxioURI(path), options)) {
      for (int k = 0; k < megabytes; k++) {
        int have = 0;
        while (have < buffer.length) {
          int n = in.read(buffer, have, buffer.length - have);
          if (n < 0) {
            throw new IllegalStateException("short file " + path);
          }
          have += n;
        }
        if (!Arrays.equals(buffer, pattern)) {
          throw new IllegalStateException("wrong bytes in " + path);
        }
      }
    }
  }

  private double positioned(String prefix, int streams, int megabytes, int size, byte[] pattern) throws Exception {
    int count = 500;
    double seconds = parallel(streams, 1, (t, i) -> {
      byte[] buffer = new byte[size];
      Random random = new Random(t);
      try (FileInStream in = fileSystem.openFile(new AlluxioURI(prefix + t))) {
        for (int k = 0; k < count; k++) {
          long position = (long) (random.nextDouble() * (megabytes * 1048576L - size));
          int have = 0;
          while (have < size) {
            have += in.positionedRead(position + have, buffer, have, size - have);
          }
          if (buffer[0] != pattern[(int) (position & 0xfffff)]) {
            throw new IllegalStateException("wrong byte at " + position);
          }
        }
      }
    });
    return Math.round(streams * count / seconds);
  }

  private static double median(List<Double> values) {
    List<Double> warm = values.size() > 1 ? new ArrayList<>(values.subList(1, values.size())) : values;
    warm.sort(null);
    return Math.round(warm.get(warm.size() / 2));
  }
}
