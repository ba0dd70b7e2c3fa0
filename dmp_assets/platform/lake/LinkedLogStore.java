package dmp.commits;

import io.delta.storage.HDFSLogStore;
import java.io.BufferedOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * Commits of Delta tables in a folder that several machines or processes share.
 *
 * Delta's own store looks whether a commit of that number is there and renames its file then, one
 * thread of one JVM at a time: another process can come between. A hard link is made or refused in
 * one step by the file system, which is how delta-rs commits too.
 */
public class LinkedLogStore extends HDFSLogStore {
  public LinkedLogStore(Configuration conf) {
    super(conf);
  }

  public void write(Path path, Iterator actions, Boolean overwrite, Configuration conf)
      throws IOException {
    if (overwrite.booleanValue()) {
      super.write(path, actions, overwrite, conf);
      return;
    }
    java.nio.file.Path target = java.nio.file.Paths.get(path.toUri().getPath());
    if (!Files.isDirectory(target.getParent())) {
      throw new FileNotFoundException("No such file or directory: " + path.getParent());
    }
    java.nio.file.Path whole =
        target.resolveSibling("_commit_" + UUID.randomUUID().toString() + ".tmp");
    try {
      OutputStream out = new BufferedOutputStream(Files.newOutputStream(whole));
      try {
        while (actions.hasNext()) {
          out.write((((String) actions.next()) + "\n").getBytes(StandardCharsets.UTF_8));
        }
      } finally {
        out.close();
      }
      Files.createLink(target, whole);
    } finally {
      Files.deleteIfExists(whole);
    }
  }
}
