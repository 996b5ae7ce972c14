#if canImport(AVFoundation)
import AVFoundation

extension Tagger {
    /// As `tag(_:)`, of a sound file: whatever AVAudioFile reads, channels averaged, at any rate.
    public func tag(contentsOf file: URL) throws -> Answer {
        try tag(Sound.samples(of: file, at: about.sampleRate))
    }
}

public enum Sound {
    /// Mono samples at this rate, full scale 1; AVAudioConverter resamples where the file has another.
    public static func samples(of file: URL, at sampleRate: Double) throws -> [Float] {
        let sound = try AVAudioFile(forReading: file)
        let format = sound.processingFormat
        guard let buffer = AVAudioPCMBuffer(pcmFormat: format, frameCapacity: AVAudioFrameCount(sound.length)) else {
            throw TaggerError.unreadable("it is too long")
        }
        try sound.read(into: buffer)
        return try samples(of: buffer, at: sampleRate)
    }

    /// The same of a buffer, such as an audio engine's tap gives: its samples must be 32-bit floats.
    public static func samples(of buffer: AVAudioPCMBuffer, at sampleRate: Double) throws -> [Float] {
        guard let channels = buffer.floatChannelData, !buffer.format.isInterleaved else {
            throw TaggerError.unreadable("its samples are no floats, channel by channel")
        }
        let (count, frames) = (Int(buffer.format.channelCount), Int(buffer.frameLength))
        let mono = (0..<frames).map { frame in
            (0..<count).reduce(Float(0)) { $0 + channels[$1][frame] } / Float(count)
        }
        return buffer.format.sampleRate == sampleRate
            ? mono : try resampled(mono, from: buffer.format.sampleRate, to: sampleRate)
    }

    private static func resampled(_ samples: [Float], from: Double, to: Double) throws -> [Float] {
        let capacity = AVAudioFrameCount((Double(samples.count) * to / from).rounded(.up)) + 1
        guard
            let given = AVAudioFormat(standardFormatWithSampleRate: from, channels: 1),
            let wanted = AVAudioFormat(standardFormatWithSampleRate: to, channels: 1),
            let converter = AVAudioConverter(from: given, to: wanted),
            let input = AVAudioPCMBuffer(pcmFormat: given, frameCapacity: AVAudioFrameCount(max(samples.count, 1))),
            let output = AVAudioPCMBuffer(pcmFormat: wanted, frameCapacity: capacity)
        else {
            throw TaggerError.unreadable("nothing converts \(from) to \(to) samples a second")
        }
        for (index, sample) in samples.enumerated() {
            input.floatChannelData![0][index] = sample
        }
        input.frameLength = AVAudioFrameCount(samples.count)
        var isGiven = false
        var failure: NSError?
        converter.convert(to: output, error: &failure) { _, status in
            status.pointee = isGiven ? .endOfStream : .haveData
            defer { isGiven = true }
            return isGiven ? nil : input
        }
        if let failure { throw failure }
        return Array(UnsafeBufferPointer(start: output.floatChannelData![0], count: Int(output.frameLength)))
    }
}
#endif
