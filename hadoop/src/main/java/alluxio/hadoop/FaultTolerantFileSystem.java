package alluxio.hadoop;

import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * Paths of the form alluxio-ft://anything/path for programs that still write them: the host is ignored, and the masters
 * are those of the configuration (alluxio.zookeeper.address, or alluxio.master.rpc.addresses).
 *
 * <p>Alluxio's client of version 2 has no class of this name any more. Put the jar on the class path beside it, and set
 * fs.alluxio-ft.impl=alluxio.hadoop.FaultTolerantFileSystem in core-site.xml, as with version 1.
 */
public class FaultTolerantFileSystem extends FileSystem {
  private static final String SCHEME = "alluxio-ft";

  @Override
  public String getScheme() {
    return SCHEME;
  }

  @Override
  public void initialize(URI ignored, Configuration configuration) throws IOException {
    super.initialize(URI.create(SCHEME + ":///"), configuration);
  }

  @Override
  protected void checkPath(Path path) {
    String scheme = path.toUri().getScheme();
    if (scheme != null && !scheme.equals(SCHEME)) {
      throw new IllegalArgumentException("Wrong FS: " + path + ", expected: " + SCHEME + ":///");
    }
  }
}
