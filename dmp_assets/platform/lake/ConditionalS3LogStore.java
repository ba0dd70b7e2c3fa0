package dmp.commits;

import io.delta.storage.S3SingleDriverLogStore;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Commits of Delta tables on S3 by a conditional put (If-None-Match), as delta-rs makes them.
 *
 * Delta's own store looks whether a commit of that number is there and puts its own then, one
 * thread of one JVM at a time: what another process put meanwhile was lost.
 */
public class ConditionalS3LogStore extends S3SingleDriverLogStore {
  private static final String CONDITIONAL = "fs.option.create.conditional.overwrite";

  public ConditionalS3LogStore(Configuration conf) {
    super(conf);
  }

  public void write(Path path, Iterator actions, Boolean overwrite, Configuration conf)
      throws IOException {
    if (overwrite.booleanValue()) {
      super.write(path, actions, overwrite, conf);
      return;
    }
    FileSystem store = path.getFileSystem(conf);
    ByteArrayOutputStream said = new ByteArrayOutputStream();
    while (actions.hasNext()) {
      said.write((((String) actions.next()) + "\n").getBytes(StandardCharsets.UTF_8));
    }
    if (isThere(store, path)) {
      throw new FileAlreadyExistsException(path.toString());
    }
    try {
      FSDataOutputStreamBuilder builder = store.createFile(path);
      builder.overwrite(true);
      builder.must(CONDITIONAL, true);
      FSDataOutputStream out = (FSDataOutputStream) builder.build();
      out.write(said.toByteArray());
      out.close();
    } catch (IOException refused) {
      if (!isThere(store, path)) {
        throw refused;
      }
      // A put that the client sent twice, because the first answer was lost, is refused although
      // it was ours.
      if (!Arrays.equals(said.toByteArray(), content(store, path))) {
        FileAlreadyExistsException taken = new FileAlreadyExistsException(path.toString());
        taken.initCause(refused);
        throw taken;
      }
    }
  }

  private static boolean isThere(FileSystem store, Path path) throws IOException {
    try {
      store.getFileStatus(path);
      return true;
    } catch (FileNotFoundException absent) {
      return false;
    }
  }

  private static byte[] content(FileSystem store, Path path) throws IOException {
    FSDataInputStream in = store.open(path);
    try {
      ByteArrayOutputStream found = new ByteArrayOutputStream();
      byte[] part = new byte[65536];
      for (int size = in.read(part); size >= 0; size = in.read(part)) {
        found.write(part, 0, size);
      }
      return found.toByteArray();
    } finally {
      in.close();
    }
  }
}
